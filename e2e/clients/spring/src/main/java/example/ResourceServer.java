package example;

import java.util.Map;
import org.springframework.context.annotation.Profile;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/** An API with Spring Security as OAuth 2.0 resource server, of which Boot makes everything from the settings. */
@RestController
@Profile("api")
class ResourceServer {
    @GetMapping("/")
    Map<String, Object> claims(@AuthenticationPrincipal Jwt token) {
        return token.getClaims();
    }
}
