import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.de.GermanAnalyzer;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.es.SpanishAnalyzer;
import org.apache.lucene.analysis.fr.FrenchAnalyzer;
import org.apache.lucene.analysis.miscellaneous.ASCIIFoldingFilter;
import org.apache.lucene.analysis.snowball.SnowballFilter;
import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.AnalyzerProvider;
import org.elasticsearch.index.analysis.AnalyzerScope;
import org.elasticsearch.index.analysis.PreBuiltAnalyzerProvider;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * Two modules of the full distribution that are not published as artifacts: analyzers and token filters
 * (analysis-common; Lucene's own, made as there) and GET / (rest-root).
 */
public class DistributionModules extends Plugin implements AnalysisPlugin, ActionPlugin {
  private static AnalysisProvider<AnalyzerProvider<? extends Analyzer>> lucene(Supplier<Analyzer> analyzer) {
    return (index, env, name, settings) -> new PreBuiltAnalyzerProvider(name, AnalyzerScope.INDEX, analyzer.get());
  }

  @Override
  public Map<String, AnalysisProvider<AnalyzerProvider<? extends Analyzer>>> getAnalyzers() {
    return Map.of("english", lucene(EnglishAnalyzer::new), "german", lucene(GermanAnalyzer::new),
        "french", lucene(FrenchAnalyzer::new), "spanish", lucene(SpanishAnalyzer::new));
  }

  private static TokenFilterFactory filter(String name, UnaryOperator<TokenStream> made) {
    return new AbstractTokenFilterFactory(name, Settings.EMPTY) {
      @Override public TokenStream create(TokenStream tokens) { return made.apply(tokens); }
    };
  }

  @Override
  public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
    return Map.of(
        "asciifolding", (index, env, name, settings) -> filter(name, ASCIIFoldingFilter::new),
        "snowball", (index, env, name, settings) -> {
          String language = settings.get("language", "English");
          return filter(name, tokens -> new SnowballFilter(tokens, language));
        });
  }

  @Override
  public Collection<RestHandler> getRestHandlers(Settings settings, NamedWriteableRegistry named,
      RestController controller, ClusterSettings cluster, IndexScopedSettings index, SettingsFilter filter,
      IndexNameExpressionResolver resolver, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> features) {
    return List.of(new BaseRestHandler() {
      @Override public String getName() { return "root"; }

      @Override public List<Route> routes() {
        return List.of(new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
      }

      @Override protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
        return channel -> {
          XContentBuilder body = channel.newBuilder();
          body.startObject().field("name", client.getLocalNodeId()).field("cluster_name", "test")
              .startObject("version").field("number", Build.current().version())
              .field("build_flavor", "default").endObject()
              .field("tagline", "You Know, for Search").endObject();
          channel.sendResponse(new RestResponse(RestStatus.OK, body));
        };
      }
    });
  }
}
