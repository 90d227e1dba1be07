//! Where the API may listen without a token.

use std::net::SocketAddr;

use service::Fatal;
use service::http::hosts::Hosts;

/// Refuses to listen beyond this machine where no token is needed, unless the operator said so.
pub(crate) fn check_bind(addr: SocketAddr, needs_tokens: bool, allow_anonymous: bool) -> Result<Hosts, Fatal> {
    if needs_tokens || allow_anonymous {
        return Ok(Hosts::Private);
    }
    match Hosts::at(addr) {
        Hosts::Loopback => Ok(Hosts::Loopback),
        Hosts::Private => Err(Fatal::setting(
            "API_ALLOW_ANONYMOUS",
            format_args!(
                "API_ADDR {addr} is reachable from other machines and there is no token; set API_TOKENS \
                 (`ponte-api token new`), or API_ALLOW_ANONYMOUS=true if the network is private, or listen on 127.0.0.1"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_only_when_told() {
        let bind = |addr: &str, allow| check_bind(addr.parse().unwrap(), false, allow).map_err(|fatal| fatal.message);
        assert_eq!(bind("127.0.0.1:80", false), Ok(Hosts::Loopback));
        assert_eq!(bind("[::1]:80", false), Ok(Hosts::Loopback));
        assert_eq!(bind("0.0.0.0:80", true), Ok(Hosts::Private));
        assert!(check_bind("0.0.0.0:80".parse().unwrap(), true, false).is_ok(), "with tokens anywhere");
        for addr in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            assert!(bind(addr, false).unwrap_err().starts_with("API_ALLOW_ANONYMOUS: "));
        }
    }
}
