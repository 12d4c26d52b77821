//! `{{name}}` in scenarios, SQL, configurations and expectations.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A part may name other parts; this deep at most.
const MAX_DEPTH: u8 = 8;

/// What the placeholders of a case stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(BTreeMap<String, String>);

impl Values {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Each file of a folder as a placeholder of its own: `parts/bye.xml` becomes `{{bye}}`.
    pub(crate) fn add_parts(&mut self, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().context("a part has a name")?;
            let text = std::fs::read_to_string(&path)?;
            self.set(name.to_string_lossy(), text.trim_end());
        }
        Ok(())
    }

    /// Replaces every placeholder; an unknown one is an error, since it would be sent as it stands.
    ///
    /// `{{name key=value}}` fills the part `name` with `key` standing for `value`.
    pub(crate) fn fill(&self, text: &str) -> Result<String> {
        self.fill_to(text, MAX_DEPTH)
    }

    fn fill_to(&self, text: &str, depth: u8) -> Result<String> {
        ensure!(depth > 0, "a part that names itself");
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").context("a {{ without its }}")?;
            out.push_str(before);
            out.push_str(&self.one(inside, depth)?);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn one(&self, inside: &str, depth: u8) -> Result<String> {
        let mut words = inside.split_whitespace();
        let name = words.next().context("an empty {{}}")?;
        let value =
            self.get(name).with_context(|| format!("nothing is known under the name {name}"))?;
        let mut inner = None;
        for word in words {
            let (key, value) = word.split_once('=').context("after a name comes key=value")?;
            inner.get_or_insert_with(|| self.clone()).set(key, value);
        }
        inner.as_ref().unwrap_or(self).fill_to(value, depth - 1)
    }
}
