//! Debian packages that tests need. Nothing is skipped for want of one: it is installed, or the run fails and says
//! what to run.

use anyhow::{Result, bail};

use crate::workspace::{capture, command, run};

/// A package, and how to see that what it brings is there, whoever installed it.
struct Package {
    name: &'static str,
    why: &'static str,
    /// A program and its arguments that exit 0 when it is usable.
    probe: &'static [&'static str],
}

const NEEDED: &[Package] = &[
    Package { name: "curl", why: "running the lines of the README", probe: &["curl", "--version"] },
    Package { name: "graphviz", why: "reading the graphs that are written for it", probe: &["dot", "-V"] },
    Package {
        name: "nodejs",
        why: "the official OpenTelemetry SDK for Node.js",
        probe: &["node", "--version"],
    },
    Package { name: "npm", why: "installing that SDK", probe: &["npm", "--version"] },
    Package {
        name: "openssl",
        why: "certificates that are not made by the library that reads them",
        probe: &["openssl", "version"],
    },
    Package {
        name: "prometheus",
        why: "promtool, which reads pages of figures and tries alert rules",
        probe: &["promtool", "--version"],
    },
    Package {
        name: "python3-venv",
        why: "the official OpenTelemetry SDK, and scripts that count without our code",
        // Debian ships `venv` with Python, but only this package brings what it needs to work.
        probe: &["python3", "-c", "import venv, ensurepip"],
    },
    Package {
        name: "redis-server",
        why: "the shared tier of the cache, over real servers",
        probe: &["redis-server", "--version"],
    },
    Package {
        name: "strace",
        why: "seeing the flush before an answer, and filling the disk",
        // Also fails where tracing is forbidden, for instance in a container without SYS_PTRACE.
        probe: &["strace", "-qq", "-o", "/dev/null", "true"],
    },
];

/// Installs what is missing when this is root on Debian; otherwise names it and fails.
pub(crate) fn ensure() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        println!("all there: {}", names(&NEEDED.iter().collect::<Vec<_>>()));
        return Ok(());
    }
    for package in &missing {
        println!("missing: {:<14} for {}", package.name, package.why);
    }
    if !can_install() {
        bail!("install what is missing with this line, then run again:\n  {}", install_line(&missing));
    }
    println!("installing: {}", names(&missing));
    run(command("apt-get").args(["update", "-qq"]))?;
    run(command("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(missing.iter().map(|package| package.name))
        .env("DEBIAN_FRONTEND", "noninteractive"))?;
    let still = self::missing();
    if !still.is_empty() {
        bail!("installed, yet not usable here: {}", names(&still));
    }
    Ok(())
}

fn missing() -> Vec<&'static Package> {
    NEEDED.iter().filter(|package| !works(package.probe)).collect()
}

fn works(probe: &[&str]) -> bool {
    probe.split_first().is_some_and(|(program, args)| capture(command(program).args(args)).is_some())
}

fn can_install() -> bool {
    capture(command("id").arg("-u")).as_deref() == Some("0") && works(&["apt-get", "--version"])
}

fn install_line(packages: &[&Package]) -> String {
    format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {}", names(packages))
}

fn names(packages: &[&Package]) -> String {
    packages.iter().map(|package| package.name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_seen_and_named_in_one_line() {
        let absent = Package { name: "no-such-thing", why: "", probe: &["no-such-program-anywhere"] };
        assert!(!works(absent.probe));
        assert!(works(&["true"]));
        assert!(!works(&["false"]));
        assert!(install_line(&[&absent]).ends_with("--no-install-recommends no-such-thing"));
    }
}
