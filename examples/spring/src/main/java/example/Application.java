package example;

import jakarta.servlet.Filter;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.servlet.filter.OrderedRequestContextFilter;
import org.springframework.boot.web.servlet.FilterRegistrationBean;
import org.springframework.context.annotation.Bean;
import org.springframework.core.Ordered;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.Authentication;
import org.springframework.security.oauth2.client.oidc.web.logout.OidcClientInitiatedLogoutSuccessHandler;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.security.web.csrf.CookieCsrfTokenRepository;
import org.springframework.session.config.annotation.web.http.EnableSpringHttpSession;
import org.springframework.web.client.ResourceAccessException;
import org.springframework.web.context.request.RequestContextHolder;
import org.springframework.web.context.request.ServletRequestAttributes;
import org.springframework.web.filter.RequestContextFilter;

/** The shop: logs in with Spring Security, and keeps its sessions in Symbolon. */
@SpringBootApplication
@EnableSpringHttpSession
public class Application {
    private static final Logger LOG = LoggerFactory.getLogger(Application.class);

    public static void main(String[] arguments) {
        SpringApplication.run(Application.class, arguments);
    }

    @Bean
    SymbolonSessions sessions(
            @Value("${symbolon.server}") String server,
            @Value("${symbolon.client-id}") String clientId,
            @Value("${symbolon.client-secret}") String clientSecret) {
        return new SymbolonSessions(server, clientId, clientSecret, () ->
                RequestContextHolder.getRequestAttributes() instanceof ServletRequestAttributes request
                        ? request.getRequest().getRemoteAddr()
                        : null);
    }

    /** Around the filter that saves sessions: they are opened for the address of the request. */
    @Bean
    RequestContextFilter requestContext() {
        var filter = new OrderedRequestContextFilter();
        filter.setOrder(Ordered.HIGHEST_PRECEDENCE);
        return filter;
    }

    /** Without the server nobody can be known for a while: that is no fault of a request, and logs nobody out. */
    @Bean
    FilterRegistrationBean<Filter> unavailable() {
        var filter = new FilterRegistrationBean<Filter>((request, response, chain) -> {
            try {
                chain.doFilter(request, response);
            } catch (IOException | ServletException | RuntimeException failed) {
                if (response.isCommitted() || !isOfTheServer(failed)) throw failed;
                LOG.warn("the session server does not answer: {}", failed.toString());
                response.reset();
                ((HttpServletResponse) response).setStatus(HttpServletResponse.SC_SERVICE_UNAVAILABLE);
                ((HttpServletResponse) response).setHeader("Retry-After", "1");
            }
        });
        filter.setOrder(Ordered.HIGHEST_PRECEDENCE);
        return filter;
    }

    private static boolean isOfTheServer(Throwable failed) {
        return failed instanceof ResourceAccessException || failed.getCause() != null && isOfTheServer(failed.getCause());
    }

    @Bean
    SecurityFilterChain security(HttpSecurity http, ClientRegistrationRepository registrations) {
        var logout = new OidcClientInitiatedLogoutSuccessHandler(registrations);
        logout.setPostLogoutRedirectUri("{baseUrl}/");
        return http.authorizeHttpRequests(rules ->
                        rules.requestMatchers("/checkout").authenticated().anyRequest().permitAll())
                .oauth2Login(Customizer.withDefaults())
                .logout(it -> it.logoutSuccessHandler(logout))
                .sessionManagement(it -> it.sessionAuthenticationStrategy(
                        (who, request, response) -> moveIntoLogin(who, request)))
                // In a cookie: a visitor who only looks needs no session.
                .csrf(it -> it.csrfTokenRepository(new CookieCsrfTokenRepository()))
                .build();
    }

    /** The session, with the cart that is in it, moves into the login's, under a new id: it ends with the login. */
    private static void moveIntoLogin(Authentication who, HttpServletRequest request) {
        if (who.getPrincipal() instanceof OidcUser user) {
            request.getSession().setAttribute(SymbolonSession.LOGIN, user.getClaimAsString("sid"));
        }
        request.changeSessionId();
    }
}
