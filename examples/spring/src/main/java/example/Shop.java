package example;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpSession;
import java.util.Map;
import java.util.TreeMap;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpStatus;
import org.springframework.http.ResponseEntity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.security.web.csrf.CsrfToken;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.util.HtmlUtils;

/** A shelf, a cart for everybody, a checkout for who has logged in. */
@RestController
class Shop {
    private static final String CART = "cart";
    private static final Map<String, String> GOODS =
            new TreeMap<>(Map.of("tea", "Tea bowl", "lamp", "Moon lamp", "bell", "Wind bell"));

    private final String instance;

    Shop(@Value("${server.port}") String instance) {
        this.instance = instance;
    }

    @GetMapping(path = "/", produces = "text/html;charset=utf-8")
    String shelf(HttpServletRequest request, @AuthenticationPrincipal OidcUser user, CsrfToken csrf) {
        var page = new StringBuilder("<!doctype html><html lang=en><meta charset=utf-8><title>Shop</title><h1>Shop</h1><ul>");
        GOODS.forEach((id, name) ->
                page.append("<li>" + name + form("put-" + id, "/cart/" + id, "Put into the cart", csrf) + "</li>"));
        page.append("</ul><h2>Cart</h2><ul id=\"cart\">");
        cart(request.getSession(false)).forEach((id, count) ->
                page.append("<li>" + count + " × " + GOODS.get(id) + "</li>"));
        page.append("</ul><p><a href=\"/checkout\">Check out</a></p>");
        if (user != null) {
            page.append("<p id=\"who\">" + HtmlUtils.htmlEscape(user.getName()) + "</p>");
            page.append(form("logout-form", "/logout", "Log out", csrf));
        }
        return page.append("<p>Answered by instance <span id=\"instance\">" + instance + "</span></p></html>").toString();
    }

    @PostMapping("/cart/{id}")
    ResponseEntity<Void> put(@PathVariable String id, HttpSession session) {
        if (!GOODS.containsKey(id)) return ResponseEntity.notFound().build();
        var cart = cart(session);
        cart.merge(id, 1, Integer::sum);
        session.setAttribute(CART, cart);
        return ResponseEntity.status(HttpStatus.SEE_OTHER).header("location", "/").build();
    }

    @GetMapping("/checkout")
    Map<String, Object> checkout(HttpSession session, @AuthenticationPrincipal OidcUser user) {
        int count = cart(session).values().stream().mapToInt(Integer::intValue).sum();
        return Map.of("sub", user.getSubject(), "count", count, "instance", instance);
    }

    @SuppressWarnings("unchecked")
    private static TreeMap<String, Integer> cart(HttpSession session) {
        var cart = session == null ? null : (TreeMap<String, Integer>) session.getAttribute(CART);
        return cart == null ? new TreeMap<>() : cart;
    }

    private static String form(String id, String action, String label, CsrfToken csrf) {
        return """
                <form id="%s" method="post" action="%s"><input type="hidden" name="%s" value="%s"><button>%s</button></form>"""
                .formatted(id, action, csrf.getParameterName(), csrf.getToken(), label);
    }
}
