package example;

import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.springframework.session.Session;

/**
 * A session as a request sees it. It remembers what was changed, so that only that is written, and where it was before its
 * id changed. How long it lives is Symbolon's to say.
 */
final class SymbolonSession implements Session {
    /** The attribute under which a login leaves its session's id ({@code sid}) before the id changes. */
    static final String LOGIN = "symbolon.login";

    private static final SecureRandom RANDOM = new SecureRandom();
    private final Map<String, Object> attributes = new HashMap<>();
    private final Set<String> changed = new HashSet<>();
    private final Instant opened;
    private String id;
    private String writtenAs;

    private SymbolonSession(String id, String writtenAs, Instant opened, Map<String, Object> attributes) {
        this.id = id;
        this.writtenAs = writtenAs;
        this.opened = opened;
        this.attributes.putAll(attributes);
    }

    static SymbolonSession fresh() {
        return new SymbolonSession(random(24), null, Instant.now(), Map.of());
    }

    static SymbolonSession loaded(String id, Instant opened, Map<String, Object> attributes) {
        return new SymbolonSession(id, id, opened, attributes);
    }

    /** Under which id it was written last, or null. */
    String writtenAs() {
        return writtenAs;
    }

    /** The names of what is to be written: after a change of the id everything. */
    Set<String> changed() {
        return id.equals(writtenAs) ? changed : attributes.keySet();
    }

    void written() {
        writtenAs = id;
        changed.clear();
    }

    @Override
    public String getId() {
        return id;
    }

    /** After a login it lies in the login's own session, and ends with it. */
    @Override
    public String changeSessionId() {
        String login = getAttribute(LOGIN);
        id = login == null ? random(24) : login + "." + random(16);
        return id;
    }

    @Override
    @SuppressWarnings("unchecked")
    public <T> T getAttribute(String name) {
        return (T) attributes.get(name);
    }

    @Override
    public Set<String> getAttributeNames() {
        return Set.copyOf(attributes.keySet());
    }

    @Override
    public void setAttribute(String name, Object value) {
        if (value == null) attributes.remove(name);
        else attributes.put(name, value);
        changed.add(name);
    }

    @Override
    public void removeAttribute(String name) {
        setAttribute(name, null);
    }

    @Override
    public Instant getCreationTime() {
        return opened;
    }

    @Override
    public Instant getLastAccessedTime() {
        return Instant.now();
    }

    @Override
    public void setLastAccessedTime(Instant time) {}

    @Override
    public Duration getMaxInactiveInterval() {
        return Duration.ZERO;
    }

    @Override
    public void setMaxInactiveInterval(Duration interval) {}

    @Override
    public boolean isExpired() {
        return false;
    }

    private static String random(int bytes) {
        byte[] drawn = new byte[bytes];
        RANDOM.nextBytes(drawn);
        return Base64.getUrlEncoder().withoutPadding().encodeToString(drawn);
    }
}
