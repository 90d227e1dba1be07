//! Signing in; and before that, where Metabase is new, its first administrator.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use service::{Exit, Fatal};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::client::{Client, Fault};
use crate::config::Config;
use crate::provision::Stop;
use crate::wire::{Credentials, Health, Preferences, Properties, Session, Setup, User};

/// How often the log says that Metabase is still waited for.
const NEWS_INTERVAL: Duration = Duration::from_secs(30);
/// What Metabase tells everybody, signed in or not.
const PROPERTIES: &str = "api/session/properties";
const SETUP_TOKEN: &str = "MB_SETUP_TOKEN";

/// Returns once Metabase is well and its API answers; it starts for a minute or more.
pub(crate) async fn wait_until_ready(client: &Client, config: &Config) -> Result<(), Fatal> {
    let start = Instant::now();
    let mut news = start;
    for failures in 1.. {
        let Err(problem) = ready(client).await else { return Ok(()) };
        let now = Instant::now();
        if now.duration_since(start) >= config.waits.health_max {
            let waited = config.waits.health_max;
            let text = format!("METABASE_URL: {} was not ready within {waited:?}: {problem}", config.url);
            return Err(Fatal::new(Exit::Unavailable, text));
        }
        if now >= news {
            info!(url = %config.url, problem, "waiting for Metabase");
            news = now + NEWS_INTERVAL;
        }
        sleep(config.waits.delay(failures)).await;
    }
    unreachable!("the loop ends only by returning")
}

/// Else what is not ready. The health check says ok before the other routes answer.
async fn ready(client: &Client) -> Result<(), String> {
    match client.get::<Health>("api/health").await {
        Ok(Health { status }) if status == "ok" => {}
        Ok(Health { status }) => return Err(format!("its status is {status}")),
        Err(fault) => return Err(fault.to_string()),
    }
    client.get::<Properties>(PROPERTIES).await.map(drop).map_err(|fault| fault.to_string())
}

/// Opens a session as the administrator, whom it makes where there is none. Says whether Metabase has its own homepage.
pub(crate) async fn sign_in(client: &mut Client, config: &Config) -> Result<bool, Stop> {
    let Properties { has_user_setup, setup_token, custom_homepage } = client.get(PROPERTIES).await?;
    let refusal = if has_user_setup == Some(true) { None } else { set_up(client, config, setup_token).await? };
    let credentials = Credentials { username: &config.email, password: config.password.expose_secret() };
    let session: Session = client.post("api/session", &credentials).await.map_err(|fault| match (fault, &refusal) {
        (Fault::Refused { status: 400 | 401, .. }, Some(refusal)) => Stop::Fatal(Fatal::setting(
            SETUP_TOKEN,
            format_args!(
                "Metabase refuses to be set up with it ({refusal}); expected the one that it was started with"
            ),
        )),
        (Fault::Refused { status: 400 | 401, reason, .. }, None) => Stop::Fatal(Fatal::setting(
            "METABASE_EMAIL, METABASE_PASSWORD",
            format_args!(
                "Metabase is set up and does not know {} with this password ({reason}); expected those of an \
                 administrator",
                config.email
            ),
        )),
        (fault, _) => fault.into(),
    })?;
    client.enter(&session.id)?;
    Ok(custom_homepage != Some(true))
}

/// Makes the administrator. A 403 to the variable's token is given back as its reason: either somebody was faster, and
/// signing in will do, or the token is another Metabase's.
///
/// Metabase shows its setup token to everybody until it has an administrator, and newer versions take no other: the
/// environment's is ignored since 0.61.
async fn set_up(client: &mut Client, config: &Config, shown: Option<String>) -> Result<Option<String>, Stop> {
    let from_metabase = shown.is_some();
    let Some(token) = shown.map(SecretString::from).or_else(|| config.setup_token.clone()) else {
        let problem = "missing, while Metabase has no administrator and shows no setup token; expected the token that \
                       Metabase was started with";
        return Err(Fatal::setting(SETUP_TOKEN, problem).into());
    };
    client.conceal(token.clone());
    let setup = Setup {
        token: token.expose_secret(),
        user: User {
            first_name: &config.site_name,
            last_name: "Admin",
            email: &config.email,
            password: config.password.expose_secret(),
        },
        prefs: Preferences { site_name: &config.site_name, site_locale: config.locale.as_str() },
    };
    match client.post::<Session>("api/setup", &setup).await {
        Ok(_) => {
            info!(email = config.email, "made the administrator");
            if !config.published.ip().is_loopback() {
                warn!(
                    published = %config.published,
                    "until now anybody who reached this address could have made themselves administrator; publish \
                     Metabase on 127.0.0.1 for its first start"
                );
            }
            Ok(None)
        }
        Err(Fault::Refused { status: 403, reason, .. }) => Ok((!from_metabase).then_some(reason)),
        Err(Fault::Refused { status: 400, reason, .. }) => match blamed(&reason) {
            // Another program has used it up since it was shown, or Metabase has made a new one.
            SETUP_TOKEN if from_metabase => Err(Fault::Passing(format!("POST api/setup: {reason}")).into()),
            variable => Err(Fatal::setting(variable, reason).into()),
        },
        Err(fault) => Err(fault.into()),
    }
}

/// The setting that Metabase's reason is about; it names its own fields.
fn blamed(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    let about = [
        ("token", SETUP_TOKEN),
        ("password", "METABASE_PASSWORD"),
        ("email", "METABASE_EMAIL"),
        ("site_name", "METABASE_SITE_NAME"),
        ("site_locale", "METABASE_LOCALE"),
    ];
    about.iter().find(|(word, _)| reason.contains(word)).map_or("METABASE_URL", |(_, variable)| variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_at_fault_is_named() {
        for (reason, variable) in [
            ("errors.token: Token does not match the setup token.", "MB_SETUP_TOKEN"),
            ("errors.user.password: password is too common.", "METABASE_PASSWORD"),
            ("errors.user.email: value must be a valid email address.", "METABASE_EMAIL"),
            ("errors.prefs.site_locale: String must be a valid locale", "METABASE_LOCALE"),
            ("something else", "METABASE_URL"),
        ] {
            assert_eq!(blamed(reason), variable, "{reason}");
        }
    }
}
