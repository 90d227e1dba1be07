//! What the documents say of the settings is what the programs have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use super::Result;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Name and default of every setting of every program.
fn settings() -> BTreeSet<(String, String)> {
    let commands = [
        ponte_subscriber::config::Cli::command(),
        ponte_api::config::Cli::command(),
        metabase_setup::config::Cli::command(),
    ];
    let setting = |arg: &clap::Arg| {
        let defaults: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        Some((arg.get_env()?.to_str()?.to_owned(), defaults.join(",")))
    };
    commands.iter().flat_map(|command| command.get_arguments().filter_map(setting).collect::<Vec<_>>()).collect()
}

#[test]
fn the_example_has_every_setting_with_its_default_and_a_reason() -> Result {
    let text = fs::read_to_string(repository().join(".env.example"))?;
    let mut listed = BTreeSet::new();
    let mut before = "";
    for line in text.lines() {
        let line_without_mark = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, value)) = line_without_mark.split_once('=')
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte.is_ascii_digit())
        {
            assert!(before.starts_with("# "), "{name} has no line that says why");
            listed.insert((name.to_owned(), value.to_owned()));
        }
        before = line;
    }
    let ours: BTreeSet<_> = settings();
    let missing: Vec<_> = ours
        .iter()
        .filter(|(name, default)| {
            !listed.iter().any(|(listed, value)| listed == name && (value == default || default.is_empty()))
        })
        .collect();
    assert!(missing.is_empty(), ".env.example lacks these, or has another default: {missing:?}");
    let names: BTreeSet<_> = ours.iter().map(|(name, _)| name.as_str()).collect();
    let unknown: Vec<_> = listed
        .iter()
        .filter(|(name, _)| service::env_file::KNOWN.contains(&name.as_str()) && !names.contains(name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    Ok(())
}

#[test]
fn every_known_setting_belongs_to_a_program() {
    let names: BTreeSet<_> = settings().into_iter().map(|(name, _)| name).collect();
    let orphans: Vec<_> = service::env_file::KNOWN.iter().filter(|known| !names.contains(**known)).collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn both_readmes_have_the_same_commands_and_headings() -> Result {
    let outline = |name: &str| -> Result<(Vec<String>, Vec<usize>)> {
        let text = fs::read_to_string(repository().join(name))?;
        let mut commands = Vec::new();
        let mut headings = Vec::new();
        let mut fenced = false;
        for line in text.lines() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if fenced {
                commands.push(line.split(" # ").next().unwrap_or_default().trim_end().to_owned());
            } else if line.starts_with('#') {
                headings.push(line.bytes().take_while(|byte| *byte == b'#').count());
            }
        }
        Ok((commands, headings))
    };
    assert_eq!(outline("README.md")?, outline("README.pt-BR.md")?);
    Ok(())
}

/// What Compose puts into a container is what the program reads in the same file by itself.
#[test]
fn compose_reads_the_env_file_as_the_programs_do() -> Result {
    if !super::readme::has("docker-compose") {
        return Ok(());
    }
    let values = [
        "#:2",
        "a#b",
        "a # b",
        "\"a # b\"",
        "'a # b' # c",
        "pa$word",
        "'pa$word'",
        "\"pa$word\"",
        "it's",
        "\"say \\\"x\\\"\"",
        "two  words  ",
        "back\\slash",
        "${V0}",
        "x${V0}y",
        "${NONE:-z}",
        "\"a\\$b\"",
        "",
        "''",
        "ção",
    ];
    let mut env = "\u{feff}TWICE=first\n export SPACED = s \nTWICE=last\n".to_owned();
    let mut yaml = "version: \"3\"\nservices:\n  x:\n    image: x\n    environment:\n".to_owned();
    for (i, value) in values.iter().enumerate() {
        env += &format!("V{i}={value}\n");
    }
    let read = service::env_file::parse::parse(env.trim_start_matches('\u{feff}'), |_| None)?.values;
    for name in read.keys() {
        yaml += &format!("      {name}: \"<${{{name}}}>\"\n");
    }
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join(".env"), &env)?;
    fs::write(dir.path().join("docker-compose.yml"), yaml)?;
    let names = read.keys().map(String::as_str);
    let output = names
        .fold(std::process::Command::new("docker-compose"), |mut command, name| {
            command.env_remove(name);
            command
        })
        .current_dir(dir.path())
        .arg("config")
        .output()?;
    let config = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let unquoted = |text: &str| match text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(inner) => inner.replace("\'\'", "'"),
        None => text.to_owned(),
    };
    for (name, value) in &read {
        let line = config.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
        let theirs = unquoted(line.unwrap_or_default()).replace("$$", "$");
        assert_eq!(theirs, format!("<{}>", value.text), "{name} in\n{env}\n{config}");
    }
    assert!(read.len() == values.len() + 2);
    Ok(())
}

/// Version 1 of Compose knows no other form than these two.
#[test]
fn compose_takes_settings_as_both_of_its_versions_do() -> Result {
    let text = fs::read_to_string(repository().join("docker-compose.yml"))?;
    for expression in text.split("${").skip(1).filter_map(|rest| rest.split('}').next()) {
        let name = expression.split_once(":-").map_or(expression, |(name, _)| name);
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(!name.is_empty() && name.bytes().all(is_name), "${{{expression}}}");
    }
    Ok(())
}

/// The live page's link and the links in Metabase's mails lead to the same place.
#[test]
fn compose_tells_metabase_the_address_that_people_use() -> Result {
    let text = fs::read_to_string(repository().join("docker-compose.yml"))?;
    let value = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": "));
    assert!(value("MB_SITE_URL").is_some());
    assert_eq!(value("MB_SITE_URL"), value("METABASE_LINK"));
    Ok(())
}

#[test]
fn links_of_the_readmes_lead_somewhere() -> Result {
    // As GitHub names a heading's anchor.
    let anchor = |heading: &str| -> String {
        let kept = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        kept.map(|char| if char == ' ' { '-' } else { char }).flat_map(char::to_lowercase).collect()
    };
    for name in ["README.md", "README.pt-BR.md"] {
        let text = fs::read_to_string(repository().join(name))?;
        let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
        let anchors: BTreeSet<_> = headings.map(anchor).collect();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let mut local = 0;
        for link in links.filter(|link| !link.starts_with("http")) {
            let leads = match link.strip_prefix('#') {
                Some(anchor) => anchors.contains(anchor),
                None => repository().join(link).exists(),
            };
            assert!(leads, "{name}: {link}");
            local += 1;
        }
        assert!(local > 20, "{name}: only {local} links were found");
    }
    Ok(())
}
