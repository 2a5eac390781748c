package example;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.UncheckedIOException;
import java.net.http.HttpClient;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.core.ParameterizedTypeReference;
import org.springframework.http.HttpMethod;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.client.JdkClientHttpRequestFactory;
import org.springframework.session.SessionRepository;
import org.springframework.web.client.RestClient;

/**
 * Spring Session on Symbolon: sessions are Symbolon's, and their attributes its session data. Whatever ends a session there
 * (a logout, an administrator, a change of the password) has ended it here, at every instance, at once.
 */
final class SymbolonSessions implements SessionRepository<SymbolonSession> {
    private static final Logger LOG = LoggerFactory.getLogger(SymbolonSessions.class);
    private static final String PROOF = "symbolon.proof";
    private static final String OPENED = "symbolon.opened";
    private static final Pattern OF_LOGIN = Pattern.compile("([\\w-]{22})\\.[\\w-]{22}");
    private static final ParameterizedTypeReference<Map<String, String>> VALUES = new ParameterizedTypeReference<>() {};

    private final RestClient api;
    private final String clientId;
    private final Supplier<String> address;

    /** @param address where the browser is of the request that runs, for the limit on visitors; or null */
    SymbolonSessions(String server, String clientId, String clientSecret, Supplier<String> address) {
        var http = new JdkClientHttpRequestFactory(
                HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build());
        http.setReadTimeout(Duration.ofSeconds(2));
        this.api = RestClient.builder()
                .requestFactory(http)
                .baseUrl(server + "/api/v1/sessions")
                .defaultHeaders(headers -> headers.setBasicAuth(clientId, clientSecret))
                .build();
        this.clientId = clientId;
        this.address = address;
    }

    /** Where a session lies: in a login's, which the id has to prove; or in a visitor's, that the id is the name of. */
    private record Place(String sid, String proof) {}

    private Place place(String id) {
        var login = OF_LOGIN.matcher(id);
        if (login.matches()) return new Place(login.group(1), encode(digest(id)));
        return new Place(encode(Arrays.copyOf(digest("symbolon session\0" + clientId + "\0" + id), 16)), null);
    }

    @Override
    public SymbolonSession createSession() {
        return SymbolonSession.fresh();
    }

    @Override
    public SymbolonSession findById(String id) {
        var values = read(place(id));
        if (values == null || !values.containsKey(OPENED)) return null;
        var opened = Instant.parse(values.remove(OPENED));
        values.remove(PROOF);
        Map<String, Object> attributes = new HashMap<>();
        values.forEach((name, value) -> {
            var attribute = deserialized(name, value);
            if (attribute != null) attributes.put(name, attribute);
        });
        return SymbolonSession.loaded(id, opened, attributes);
    }

    /**
     * Writes what was changed, attribute by attribute: requests at the same time lose nothing of each other. A session that
     * has ended while its request was running stays ended.
     */
    @Override
    public void save(SymbolonSession session) {
        var place = place(session.getId());
        var before = session.writtenAs();
        Map<String, Object> patch = new HashMap<>();
        session.changed().forEach(name -> patch.put(name, serialized(session.getAttribute(name))));
        if (!session.getId().equals(before)) {
            // Whose id changed while it ended elsewhere does not begin anew.
            if (before != null && read(place(before)) == null) return;
            if (place.proof() == null) open(session.getId());
            else patch.put(PROOF, place.proof());
            patch.put(OPENED, session.getCreationTime().toString());
        }
        if (!patch.isEmpty() && ask(HttpMethod.PATCH, "/{sid}/data", place.sid(), patch) == null) return;
        session.written();
        if (before != null && !session.getId().equals(before)) deleteById(before);
    }

    @Override
    public void deleteById(String id) {
        var place = place(id);
        if (place.proof() == null) {
            ask(HttpMethod.DELETE, "/{sid}", place.sid(), null);
            return;
        }
        // The login goes on; who ends it is its server, at the user's logout.
        var values = read(place);
        if (values == null) return;
        Map<String, Object> nothing = new HashMap<>();
        values.keySet().forEach(name -> nothing.put(name, null));
        ask(HttpMethod.PATCH, "/{sid}/data", place.sid(), nothing);
    }

    private void open(String name) {
        Map<String, Object> visitor = new HashMap<>(Map.of("name", name));
        var at = address.get();
        if (at != null) visitor.put("address", at);
        ask(HttpMethod.POST, "", "", visitor);
    }

    /** The values of a session whose id proves it, or null. That it is read says that its user is there. */
    private Map<String, String> read(Place place) {
        var found = ask(HttpMethod.GET, "/{sid}/data?seen=true", place.sid(), null);
        return found == null || place.proof() != null && !place.proof().equals(found.get(PROOF)) ? null : found;
    }

    /** An answer, or null where the session has ended or never was. */
    private Map<String, String> ask(HttpMethod method, String path, String sid, Map<String, Object> body) {
        var request = api.method(method).uri(path, sid);
        if (body != null) request.contentType(MediaType.APPLICATION_JSON).body(body);
        return request.exchange((asked, answer) -> {
            if (answer.getStatusCode() == HttpStatus.NOT_FOUND) return null;
            if (answer.getStatusCode().isError()) {
                throw new IOException("the session server said " + answer.getStatusCode());
            }
            return method == HttpMethod.GET ? answer.bodyTo(VALUES) : Map.of();
        });
    }

    private static String serialized(Object value) {
        if (value == null) return null;
        var bytes = new ByteArrayOutputStream();
        try (var out = new ObjectOutputStream(bytes)) {
            out.writeObject(value);
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
        return Base64.getEncoder().encodeToString(bytes.toByteArray());
    }

    /**
     * Only what this client wrote comes back: nobody else reaches its session data. What cannot be read, as after a change of
     * its class, is not there: its user must not be locked out for as long as the session lives.
     */
    private static Object deserialized(String name, String text) {
        try (var in = new ObjectInputStream(new ByteArrayInputStream(Base64.getDecoder().decode(text)))) {
            return in.readObject();
        } catch (IOException | ClassNotFoundException | LinkageError | RuntimeException failed) {
            LOG.warn("the attribute {} of a session cannot be read: {}", name, failed.toString());
            return null;
        }
    }

    private static byte[] digest(String text) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException never) {
            throw new IllegalStateException(never);
        }
    }

    private static String encode(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }
}
