package example;

import com.sun.net.httpserver.HttpServer;
import io.jsonwebtoken.JwtException;
import io.jsonwebtoken.Jwts;
import io.jsonwebtoken.UnsupportedJwtException;
import io.jsonwebtoken.security.Jwk;
import io.jsonwebtoken.security.Jwks;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.Key;
import java.util.Map;
import java.util.stream.Collectors;

/** An API that checks access tokens with jjwt, and has nothing of Spring. */
class Jjwt {
    private static final String ISSUER = System.getenv("ISSUER");

    public static void main(String[] arguments) throws Exception {
        var keys = HttpRequest.newBuilder(URI.create(ISSUER + "/.well-known/jwks.json")).build();
        String jwks = HttpClient.newHttpClient().send(keys, BodyHandlers.ofString()).body();
        Map<String, Key> byId = Jwks.setParser().build().parse(jwks).getKeys().stream()
                .collect(Collectors.toMap(Jwk::getId, Jwk::toKey));
        var parser = Jwts.parser()
                .keyLocator(header -> byId.get(header.get("kid")))
                .requireIssuer(ISSUER)
                .requireAudience(System.getenv("AUDIENCE"))
                .build();
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT"))), 0);
        server.createContext("/", exchange -> {
            var authorization = exchange.getRequestHeaders().getFirst("Authorization");
            int status = 200;
            String body;
            try {
                var token = parser.parseSignedClaims(String.valueOf(authorization).replaceFirst("^Bearer ", ""));
                if (!System.getenv("TYPE").equals(token.getHeader().getType())) throw new UnsupportedJwtException("typ");
                body = new tools.jackson.databind.ObjectMapper().writeValueAsString(token.getPayload());
            } catch (JwtException | IllegalArgumentException refused) {
                status = 401;
                body = refused.toString();
            }
            exchange.sendResponseHeaders(status, 0);
            try (var out = exchange.getResponseBody()) {
                out.write(body.getBytes());
            }
        });
        server.start();
    }
}
