//! The templates of a program's routes: whatever clients ask for, answers are counted by these.

use std::sync::Arc;

/// Finds the template of a path as the router does. axum tells it too, but only further in, and within each request.
#[derive(Debug)]
pub struct Templates(matchit::Router<Arc<str>>);

impl Templates {
    /// Those that a router has taken.
    ///
    /// # Panics
    ///
    /// Where no router would have taken them: one is there twice, or is no template.
    pub fn new<'a>(templates: impl IntoIterator<Item = &'a str>) -> Self {
        let mut router = matchit::Router::new();
        for template in templates {
            router.insert(template, template.into()).expect("a router has taken the same templates");
        }
        Self(router)
    }

    /// The template that a path fits, if there is one.
    pub fn of(&self, path: &str) -> Option<Arc<str>> {
        self.0.at(path).ok().map(|found| found.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_its_template() {
        let templates = Templates::new(["/", "/dados", "/dados/{id}", "/dados/stream", "/assets/{*file}"]);
        for (path, template) in [
            ("/", Some("/")),
            ("/dados", Some("/dados")),
            ("/dados/7", Some("/dados/{id}")),
            ("/dados/stream", Some("/dados/stream")),
            ("/assets/a/b.js", Some("/assets/{*file}")),
            ("/dados/", None),
            ("/dados/7/8", None),
            ("/outro", None),
        ] {
            assert_eq!(templates.of(path).as_deref(), template, "{path}");
        }
    }
}
