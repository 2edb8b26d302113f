//! The files of the shipped catalogue, compiled in. A new file in `catalogue/` gets a line here.

/// Name and text of every file.
pub(crate) const FILES: &[(&str, &str)] = &[
    ("anthropic.toml", include_str!("../catalogue/anthropic.toml")),
    ("aws.bedrock.toml", include_str!("../catalogue/aws.bedrock.toml")),
    ("gcp.gemini.toml", include_str!("../catalogue/gcp.gemini.toml")),
    ("mistral_ai.toml", include_str!("../catalogue/mistral_ai.toml")),
    ("openai.toml", include_str!("../catalogue/openai.toml")),
    ("tools.toml", include_str!("../catalogue/tools.toml")),
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn rat_1_every_file_of_the_folder_is_shipped() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| std::path::Path::new(name).extension().is_some_and(|extension| extension == "toml"))
            .collect();
        found.sort();
        let shipped: Vec<String> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(found, shipped, "list the files of catalogue/ in src/shipped.rs, in order");
    }
}
