import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/** Serves MongoDB's protocol out of memory on loopback, on the port given, until its input ends. */
public final class MongoNode {
  /** The oldest version that today's drivers talk to; what they ask of it here, the server answers. */
  private static final class Announced implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(4, 4, 0);
    }

    @Override
    public int getWireVersion() {
      return 9;
    }
  }

  public static void main(String[] arguments) throws Exception {
    MongoServer server = new MongoServer(new MemoryBackend().version(new Announced()));
    server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
    System.out.println("listening");
    while (System.in.read() >= 0) {}
    server.shutdownNow();
  }
}
