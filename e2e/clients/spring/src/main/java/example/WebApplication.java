package example;

import static org.springframework.security.oauth2.client.web.client.RequestAttributeClientRegistrationIdResolver.clientRegistrationId;

import java.util.Map;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Profile;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.oidc.web.logout.OidcClientInitiatedLogoutSuccessHandler;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.client.web.client.OAuth2ClientHttpRequestInterceptor;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestClient;

/** A web application with Spring Security as OAuth 2.0 client. */
@RestController
@Profile("web")
class WebApplication {
    private final RestClient api;

    WebApplication(OAuth2AuthorizedClientManager clients, @Value("${api}") String url) {
        var withToken = new OAuth2ClientHttpRequestInterceptor(clients);
        api = RestClient.builder().baseUrl(url).requestInterceptor(withToken).build();
    }

    @Bean
    SecurityFilterChain security(HttpSecurity http, ClientRegistrationRepository registrations) {
        var logout = new OidcClientInitiatedLogoutSuccessHandler(registrations);
        logout.setPostLogoutRedirectUri("{baseUrl}/left");
        return http.authorizeHttpRequests(rules -> rules
                        .requestMatchers("/left")
                        .permitAll()
                        .anyRequest()
                        .authenticated())
                .oauth2Login(Customizer.withDefaults())
                .oidcLogout(it -> it.backChannel(Customizer.withDefaults()))
                .logout(it -> it.logoutSuccessHandler(logout))
                .build();
    }

    @GetMapping("/")
    Map<String, Object> home(@AuthenticationPrincipal OidcUser user) {
        return user.getClaims();
    }

    /** The manager refreshes a token that has less than a minute left before it uses it. */
    @GetMapping("/api")
    String call() {
        return api.get().attributes(clientRegistrationId("symbolon")).retrieve().body(String.class);
    }

    @GetMapping("/left")
    String left() {
        return "logged out";
    }
}
