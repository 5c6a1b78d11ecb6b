#!/usr/bin/env bash
# Start a real Elasticsearch node on loopback, assembled from Maven Central.
#   start.sh DIR [HTTP_PORT] [setting=value ...]     (needs mvn and a JDK 17+, 21+ for 9; runs in the foreground)
# The first run downloads about 45 MB and compiles two small classes into DIR; later runs reuse them.
# ES_VERSION is another version than pom.xml's, such as 9.5.3; JAVA_HOME another JDK than the one on the path.
# ES_JAVA_OPTS adds to the options of Java. With HTTP_PORT 0 it only puts the node together.
# Several nodes may share DIR, each with a path.data of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); dir=$(mkdir -p "$1" && cd "$1" && pwd); port=${2:-19200}; shift; shift || true
version=${ES_VERSION:-$(sed -n 's:.*<es.version>\(.*\)</es.version>.*:\1:p' "$here/pom.xml")}
PATH=${JAVA_HOME:+$JAVA_HOME/bin:}$PATH
if [ ! -e "$dir/ready" ]; then
  fetch() { mvn -q -B -f "$here/pom.xml" "-Des.version=$version" "-P$1" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$dir/$2"; }
  fetch server lib
  fetch http http
  mkdir -p "$dir"/{config,plugins,logs,src,classes/node,classes/modules} "$dir"/modules/{transport-netty4,distribution}
  cp "$dir"/http/netty-*.jar "$dir"/http/transport-netty4-*.jar "$dir"/http/elasticsearch-ssl-config-*.jar "$dir/modules/transport-netty4/"
  descriptor() { printf 'description=%s\nversion=%s\nname=%s\njava.version=17\nelasticsearch.version=%s\nclassname=%s\n' "$1" "$version" "$1" "$version" "$2"; }
  descriptor transport-netty4 org.elasticsearch.transport.netty4.Netty4Plugin > "$dir/modules/transport-netty4/plugin-descriptor.properties"
  descriptor distribution DistributionModules > "$dir/modules/distribution/plugin-descriptor.properties"
  cp "$here"/src/*.java "$dir/src/"
  # What 9 calls otherwise than 8; the rest is the same.
  case $version in 9.*) sed -i -e 's/\(env.\(modules\|plugins\)Dir()\))/\1, false)/' -e 's/(name, Settings.EMPTY)/(name)/' \
    -e 's/getRestHandlers(Settings settings, .*/getRestHandlers(RestHandlersServices services,/' \
    -e '/RestController controller, ClusterSettings/d' -e 's/IndexNameExpressionResolver resolver, //' "$dir"/src/*.java ;; esac
  javac -cp "$dir/lib/*" -d "$dir/classes/node" "$dir/src/EsNode.java"
  javac -cp "$dir/lib/*" -d "$dir/classes/modules" "$dir/src/DistributionModules.java"
  jar cf "$dir/modules/distribution/distribution.jar" -C "$dir/classes/modules" .
  : > "$dir/config/elasticsearch.yml"
  printf '%s\n' 'status = error' 'appender.console.type = Console' 'appender.console.name = console' \
    'appender.console.layout.type = PatternLayout' 'appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n' \
    'rootLogger.level = warn' 'rootLogger.appenderRef.console.ref = console' > "$dir/config/log4j2.properties"
  touch "$dir/ready"
fi
if [ "$port" = 0 ]; then exit; fi
exec java -Xms512m -Xmx512m ${ES_JAVA_OPTS:-} -Des.path.home="$dir" -Des.path.conf="$dir/config" -Des.distribution.type=tar \
  -cp "$dir/classes/node:$dir/lib/*" EsNode "http.port=$port" "transport.port=$((port + 100))" \
  "discovery.type=single-node" "cluster.name=test" "cluster.routing.allocation.disk.threshold_enabled=false" "$@"
