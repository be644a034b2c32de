//! The image of the docker target: found, built from its Dockerfile, or made from the distribution's packages.
//!
//! Images are named after their release and a hash of both recipes, so that a changed recipe is a new image and an
//! unchanged one is never built twice; one with packages of a scenario has a hash of their names besides. It must not start
//! containers.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use testcontainers::bollard::body_full;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::ImageInspect;
use testcontainers::bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ListImagesOptionsBuilder,
};
use tokio::process::Command;

use super::engine::{Engine, Removal, failed, is_missing};
use super::{OWNER_LABEL, Suite, tar};
use crate::owner::Owner;
use crate::ward::{Kind, MARK, Ward};
use crate::{ServerError, io_error};
use sshchurn_core::manifest::{OWN_IMAGES, PackageRecord};
use sshchurn_core::release::{Release, release_word};
use sshchurn_core::scenario::{PackageName, Packages};

const REPOSITORY: &str = OWN_IMAGES;
const LABEL: &str = "sshchurn.image";
/// Label: the packages that a scenario wanted in it, separated by spaces.
const PACKAGES_LABEL: &str = "sshchurn.packages";
/// How long pulling the base image may take before the packages are tried instead.
const PULL_WITHIN: Duration = Duration::from_secs(60);
/// How long either build may take.
const BUILD_WITHIN: Duration = Duration::from_secs(600);

/// How images are made; their names tell one recipe from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// Text of the Dockerfile, for engines that can have its base image.
    pub dockerfile: &'static str,
    /// Shell script that makes a root file system of the distribution's packages, for those that cannot.
    pub from_packages: &'static str,
}

/// Which image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) suite: Suite,
    /// What it has besides the server and what the harness needs.
    pub(super) packages: &'a Packages,
}

/// An image of an OpenSSH server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `sshchurn/openssh:<release>-<suite>-<hash of the recipe>`, and `_<hash of the packages>` where there are any.
    pub name: String,
    /// The packages that a scenario wanted in it, separated by spaces.
    pub packages: String,
    /// The release it was made for, checked against its content then; `None` when the name is of an older form.
    pub release: Option<Release>,
    /// Debian's name of the suite its packages are from.
    pub suite: String,
    /// Content hash.
    pub id: String,
    /// Size on disk, bytes.
    pub size_bytes: u64,
}

impl ImageInfo {
    /// Whether it is the image of this suite by this recipe, without further packages.
    #[must_use]
    pub fn is_current(&self, recipe: &Recipe, suite: Suite) -> bool {
        self.name == base_name(recipe, suite)
    }

    /// Whether it was made by another recipe than this one; then no run uses it.
    #[must_use]
    pub fn is_outdated(&self, recipe: &Recipe) -> bool {
        let base = self
            .name
            .split_once(PACKAGES_FOLLOW)
            .map_or(self.name.as_str(), |(base, _)| base);
        !Suite::ALL
            .into_iter()
            .any(|suite| base == base_name(recipe, suite))
    }

    fn new(name: &str, id: String, size: i64, labels: Option<&HashMap<String, String>>) -> Self {
        let (release, suite) = parse_name(name);
        ImageInfo {
            name: name.to_owned(),
            release,
            suite: suite.to_owned(),
            packages: labels
                .and_then(|labels| labels.get(PACKAGES_LABEL))
                .cloned()
                .unwrap_or_default(),
            id,
            size_bytes: u64::try_from(size).unwrap_or(0),
        }
    }
}

/// An image that is there and holds what its name says.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) image: ImageInfo,
    /// The release that is in it.
    pub(super) release: Release,
    /// … in full: `OpenSSH_9.2p1`.
    pub(super) release_text: String,
    /// The packages that were asked for, as they are in it; `None` where none was.
    pub(super) packages: Option<Vec<PackageRecord>>,
}

/// Finds the image or makes it.
///
/// # Errors
/// [`ServerError::Unavailable`] when it cannot be made either way, also because the suite has no such package, or when the
/// suite brings another release by now.
pub async fn build(
    recipe: &Recipe,
    suite: Suite,
    packages: &Packages,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<ImageInfo, ServerError> {
    let wanted = Wanted {
        recipe,
        suite,
        packages,
    };
    let ready = ensure(&Engine::connect().await?, wanted, progress).await?;
    Ok(ready.image)
}

/// The images made so far, those of other recipes too; by release.
///
/// # Errors
/// [`ServerError`] when the engine does not answer.
pub async fn list() -> Result<Vec<ImageInfo>, ServerError> {
    let engine = Engine::connect().await?;
    let filters = HashMap::from([("reference", vec![REPOSITORY])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = engine
        .ask("list images", engine.docker().list_images(Some(options)))
        .await?;
    let mut images: Vec<ImageInfo> = images
        .into_iter()
        .flat_map(|image| {
            let (id, size, labels) = (image.id, image.size, image.labels);
            image
                .repo_tags
                .into_iter()
                .map(move |name| ImageInfo::new(&name, id.clone(), size, Some(&labels)))
        })
        .collect();
    images.sort_by(|a, b| (a.release, &a.name).cmp(&(b.release, &b.name)));
    Ok(images)
}

pub(super) async fn ensure(
    engine: &Engine,
    wanted: Wanted<'_>,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Ready, ServerError> {
    let name = name(wanted);
    if let Some(image) = find(engine, &name).await? {
        return ready(engine, wanted, image).await;
    }
    let with = match wanted.packages.is_empty() {
        true => String::new(),
        false => format!(" with {}", words(wanted.packages, ", ")),
    };
    progress(&format!(
        "building image {name}{with} (once; later runs reuse it)"
    ));
    let pulled = match base(engine, wanted.suite).await {
        Ok(()) => from_dockerfile(engine, wanted, &name).await,
        Err(error) => Err(error),
    };
    if let Err(why) = pulled {
        progress(&format!(
            "not built from the Dockerfile ({why}); building from the distribution's packages"
        ));
        from_packages(engine, wanted, &name).await?;
    }
    let Some(image) = find(engine, &name).await? else {
        return Err(failed(
            "build the image",
            "the engine does not have it afterwards",
        ));
    };
    match ready(engine, wanted, image).await {
        // Its name would say what is not in it.
        Err(error @ ServerError::Unavailable { .. }) => {
            engine.remove_image(&name).await?;
            Err(error)
        }
        other => other,
    }
}

/// Looks into the image: what it holds decides about keywords and wording, not what it is called.
async fn ready(
    engine: &Engine,
    wanted: Wanted<'_>,
    image: ImageInfo,
) -> Result<Ready, ServerError> {
    let (release, packages) = look_inside(engine, &image.name, wanted.packages).await?;
    let release_text = release_word(&release)
        .map(str::to_owned)
        .ok_or_else(|| failed("read the image's release", "the image does not say"))?;
    let release = check_release(wanted.suite, &release_text)?;
    let packages = check_packages(wanted.packages, &packages, &image.name)?;
    Ok(Ready {
        image,
        release,
        release_text,
        packages,
    })
}

/// Compares the packages in an image, by the list that both recipes leave in it, with those it was made for: its name has no
/// more than a hash of them.
fn check_packages(
    wanted: &Packages,
    listed: &str,
    image: &str,
) -> Result<Option<Vec<PackageRecord>>, ServerError> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let there: Vec<PackageRecord> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| PackageRecord {
            name: name.to_owned(),
            version: Some(version.to_owned()),
        })
        .collect();
    let names: BTreeSet<&str> = there.iter().map(|package| package.name.as_str()).collect();
    if wanted.iter().map(PackageName::as_str).eq(names) {
        return Ok(Some(there));
    }
    Err(failed(
        format!("use image {image}, which was made for other packages"),
        format!("it lists `{}`", listed.trim().replace('\n', ", ")),
    ))
}

/// Compares what a suite brought with what it was asked for; the patch level says nothing about behaviour.
fn check_release(suite: Suite, brought: &str) -> Result<Release, ServerError> {
    let release =
        Release::find(brought).ok_or_else(|| failed("read the image's release", brought))?;
    if release == suite.release() {
        return Ok(release);
    }
    Err(ServerError::Unavailable {
        what: format!(
            "Debian's {} now brings {brought}, not the OpenSSH {} that was asked for",
            suite.as_str(),
            suite.release()
        ),
        fix: format!(
            "ask for another of {}, or use a version of sshchurn that knows {release}",
            Suite::releases()
        ),
    })
}

/// What both recipes leave in an image, read without starting it: the release, and the list of packages that it was made
/// for, which is empty where there is none.
async fn look_inside(
    engine: &Engine,
    image: &str,
    wanted: &Packages,
) -> Result<(String, String), ServerError> {
    let owner = Owner::this_process().map_err(io_error("read /proc"))?;
    let scratch = format!("sshchurn-release-{}", std::process::id());
    let removal = Removal::of(scratch.clone());
    let id = engine
        .create(&scratch, image, scratch_labels(&owner))
        .await?;
    let text = async |path| -> Result<String, ServerError> {
        let file = engine.file(&id, path).await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&file).into_owned())
    };
    let release = text("/etc/sshchurn/release").await?;
    let packages = match wanted.is_empty() {
        true => String::new(),
        false => text("/etc/sshchurn/packages").await?,
    };
    engine.remove(&id).await?;
    removal.done();
    Ok((release, packages))
}

/// As every container: a run that is killed while it looks leaves it, and the next one finds it by its owner.
pub(super) fn scratch_labels(owner: &Owner) -> HashMap<String, String> {
    HashMap::from([(OWNER_LABEL.to_owned(), owner.to_string())])
}

/// Between the name of the image without packages and their hash; in no name of a suite.
const PACKAGES_FOLLOW: char = '_';

fn name(wanted: Wanted<'_>) -> String {
    let base = base_name(wanted.recipe, wanted.suite);
    if wanted.packages.is_empty() {
        return base;
    }
    // Their names have characters that a tag must not have, and there may be more of them than it can hold.
    let hash = crc32fast::hash(words(wanted.packages, "\n").as_bytes());
    format!("{base}{PACKAGES_FOLLOW}{hash:08x}")
}

/// The names of the packages, always in the same order.
fn words(packages: &Packages, between: &str) -> String {
    let names: Vec<&str> = packages.iter().map(PackageName::as_str).collect();
    names.join(between)
}

fn base_name(recipe: &Recipe, suite: Suite) -> String {
    // CRC-32 (ITU-T V.42), the same from any toolchain: what is told apart is recipes, not attackers.
    let mut hash = crc32fast::Hasher::new();
    for text in [recipe.dockerfile, "\0", recipe.from_packages] {
        hash.update(text.as_bytes());
    }
    format!(
        "{REPOSITORY}:{}-{}-{:08x}",
        suite.release(),
        suite.as_str(),
        hash.finalize()
    )
}

/// Release and suite of a name; names without a release are those of earlier versions of this program.
fn parse_name(name: &str) -> (Option<Release>, &str) {
    let tag = name.rsplit_once(':').map_or(name, |(_, tag)| tag);
    let before_hash = tag.rsplit_once('-').map_or(tag, |(before, _)| before);
    match before_hash.split_once('-') {
        Some((release, suite)) if release.parse::<Release>().is_ok() => {
            (release.parse().ok(), suite)
        }
        _ => (None, before_hash),
    }
}

/// What the engine knows of an image, by its name, digest or id; `None` where it is not there. Nothing is fetched.
pub(super) async fn inspect(
    engine: &Engine,
    name: &str,
) -> Result<Option<ImageInspect>, ServerError> {
    let inspect = async {
        match engine.docker().inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    engine.ask("inspect the image", inspect).await
}

/// The name by which a container of exactly this image is made, whatever its name stands for by then; an engine asks no
/// registry for it.
pub(super) fn by_id<'a>(name: &'a str, id: &'a str) -> &'a str {
    match id.contains(':') {
        true => id,
        false => name,
    }
}

async fn find(engine: &Engine, name: &str) -> Result<Option<ImageInfo>, ServerError> {
    let image = inspect(engine, name).await?;
    Ok(image.map(|image| {
        let labels = image.config.and_then(|config| config.labels);
        let (id, size) = (image.id.unwrap_or_default(), image.size.unwrap_or(0));
        ImageInfo::new(name, id, size, labels.as_ref())
    }))
}

/// Makes sure of the base image: it is there, or can be pulled.
async fn base(engine: &Engine, suite: Suite) -> Result<(), String> {
    let base = format!("debian:{}", suite.base_tag());
    if engine.docker().inspect_image(&base).await.is_ok() {
        return Ok(());
    }
    let options = CreateImageOptionsBuilder::new()
        .from_image("debian")
        .tag(suite.base_tag())
        .build();
    let mut pull = engine.docker().create_image(Some(options), None, None);
    let pulling = async {
        while let Some(step) = pull.next().await {
            step.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    tokio::time::timeout(PULL_WITHIN, pulling)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PULL_WITHIN.as_secs())))
}

async fn from_dockerfile(engine: &Engine, wanted: Wanted<'_>, name: &str) -> Result<(), String> {
    let Wanted {
        recipe,
        suite,
        packages,
    } = wanted;
    let arguments = HashMap::from([
        ("BASE".to_owned(), suite.base_tag().to_owned()),
        ("SUITE".to_owned(), suite.as_str().to_owned()),
        ("PACKAGES".to_owned(), words(packages, " ")),
    ]);
    let mut labels = HashMap::from([(LABEL.to_owned(), "dockerfile".to_owned())]);
    if !packages.is_empty() {
        labels.insert(PACKAGES_LABEL.to_owned(), words(packages, " "));
    }
    let options = BuildImageOptionsBuilder::new()
        .t(name)
        .buildargs(&arguments)
        .labels(&labels)
        .rm(true)
        .build();
    let context = Bytes::from(tar::of_one_file("Dockerfile", recipe.dockerfile.as_bytes()));
    let mut build = engine
        .docker()
        .build_image(options, None, Some(body_full(context)));
    let building = async {
        while let Some(step) = build.next().await {
            let step = step.map_err(|error| error.to_string())?;
            if let Some(detail) = step.error_detail {
                return Err(detail.message.unwrap_or_default());
            }
        }
        Ok(())
    };
    tokio::time::timeout(BUILD_WITHIN, building)
        .await
        .unwrap_or_else(|_| Err(format!("not built within {} s", BUILD_WITHIN.as_secs())))
}

/// Makes the root file system from packages and imports it.
async fn from_packages(engine: &Engine, wanted: Wanted<'_>, name: &str) -> Result<(), ServerError> {
    let ward = Ward::create(&std::env::temp_dir(), Kind::Image)
        .map_err(io_error("create a temporary folder"))?;
    let output = ward.path().join("rootfs.tar");
    run_offline_build(wanted, &ward, &output).await?;
    let archive = tokio::fs::read(&output)
        .await
        .map_err(io_error("read the root file system"))?;
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let mut changes = vec![format!("LABEL {LABEL}=packages")];
    if !wanted.packages.is_empty() {
        let packages = words(wanted.packages, " ");
        changes.push(format!("LABEL {PACKAGES_LABEL}=\"{packages}\""));
    }
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .changes(changes)
        .build();
    let mut import =
        engine
            .docker()
            .create_image(Some(options), Some(body_full(Bytes::from(archive))), None);
    let importing = async {
        while let Some(step) = import.next().await {
            step?;
        }
        Ok::<(), Error>(())
    };
    match tokio::time::timeout(BUILD_WITHIN, importing).await {
        Ok(imported) => imported.map_err(|error| failed("import the image", error)),
        Err(_) => Err(failed(
            "import the image",
            "the Docker engine does not answer",
        )),
    }
}

async fn run_offline_build(
    wanted: Wanted<'_>,
    ward: &Ward,
    output: &Path,
) -> Result<(), ServerError> {
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            wanted.recipe.from_packages,
            "build-offline.sh",
            wanted.suite.as_str(),
        ])
        .arg(output)
        .args(wanted.packages.iter().map(PackageName::as_str))
        // Its scratch folder lies in ours, and goes with it also when the build is killed.
        .env("TMPDIR", ward.path())
        .env(MARK, ward.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let unavailable = |why: String| ServerError::Unavailable {
        what: format!("no image could be made: {why}"),
        fix: format!(
            "{}make the base image available to the Docker engine, or use `--target local`",
            if wanted.packages.is_empty() {
                ""
            } else {
                "check the names in `sshd.packages`, "
            }
        ),
    };
    let child = command
        .spawn()
        .map_err(|error| unavailable(error.to_string()))?;
    let group = KilledGroup(child.id());
    let built = tokio::time::timeout(BUILD_WITHIN, child.wait_with_output())
        .await
        .map_err(|_| unavailable(format!("not built within {} s", BUILD_WITHIN.as_secs())))?
        .map_err(|error| unavailable(error.to_string()))?;
    group.done();
    if built.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&built.stderr);
    Err(unavailable(
        said.lines().last().unwrap_or("the build failed").to_owned(),
    ))
}

/// A process group that is killed when dropped: `kill_on_drop` reaches the shell only, not the `apt-get` below it.
struct KilledGroup(Option<u32>);

impl KilledGroup {
    /// The group has ended by itself; its number may belong to somebody else from now on.
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for KilledGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = nix::sys::signal::killpg(
                nix::unistd::Pid::from_raw(leader),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: Recipe = Recipe {
        dockerfile: "FROM debian",
        from_packages: "true",
    };

    #[test]
    fn name_carries_release_suite_and_recipe_and_gives_them_back() {
        for suite in Suite::ALL {
            let name = base_name(&RECIPE, suite);
            assert_eq!(parse_name(&name), (Some(suite.release()), suite.as_str()));
            let image = ImageInfo::new(&name, String::new(), 1, None);
            assert!(image.is_current(&RECIPE, suite) && !image.is_outdated(&RECIPE));
        }
        assert_ne!(
            base_name(&RECIPE, Suite::Trixie),
            base_name(&RECIPE, Suite::TrixieBackports)
        );
    }

    /// Written down: another hash would make every image of every user anew.
    #[test]
    fn hash_of_a_recipe_is_the_same_from_every_toolchain() {
        assert_eq!(
            base_name(&RECIPE, Suite::Bookworm),
            "sshchurn/openssh:9.2-bookworm-eb836a14"
        );
        assert_eq!(
            named(&["git", "rsync"]),
            "sshchurn/openssh:9.2-bookworm-eb836a14_266e0dc4"
        );
    }

    fn packages(names: &[&str]) -> Packages {
        let name = |name: &&str| name.parse().expect("the name of a package");
        names.iter().map(name).collect()
    }

    fn named(names: &[&str]) -> String {
        name(Wanted {
            recipe: &RECIPE,
            suite: Suite::Bookworm,
            packages: &packages(names),
        })
    }

    #[test]
    fn packages_make_another_image_whatever_their_order_and_no_packages_make_none() {
        assert_eq!(named(&[]), base_name(&RECIPE, Suite::Bookworm));
        assert_eq!(named(&["rsync", "git", "rsync"]), named(&["git", "rsync"]));
        let names = [&["git"][..], &["rsync"], &["git", "rsync"], &["g++", "git"]].map(named);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            // What Docker takes for a tag.
            let (_, tag) = name.split_once(':').expect("a tag");
            assert!(
                tag.len() <= 128
                    && tag
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
            );
            let suite = Suite::Bookworm;
            assert_eq!(parse_name(&name), (Some(suite.release()), suite.as_str()));
            let image = ImageInfo::new(&name, String::new(), 1, None);
            assert!(!image.is_current(&RECIPE, suite) && !image.is_outdated(&RECIPE));
            let image = ImageInfo {
                name: name.replace("eb836a14", "zzzzzzzz"),
                ..image
            };
            assert!(image.is_outdated(&RECIPE));
        }
    }

    #[test]
    fn image_is_used_only_for_the_packages_that_are_in_it() {
        let listed = "git 1:2.39.5-0+deb12u2\nrsync 3.2.7-1\n";
        let check = |names: &[&str], listed| check_packages(&packages(names), listed, "the image");
        let there = check(&["rsync", "git"], listed)
            .expect("they are in it")
            .expect("asked for");
        assert_eq!(there[0].version.as_deref(), Some("1:2.39.5-0+deb12u2"));
        assert_eq!(check(&[], "").expect("nothing is asked for"), None);
        for (names, listed) in [
            (&["git"][..], listed),
            (&["git", "python3"], listed),
            (&["git"], ""),
            (&["git"], "git"),
        ] {
            assert!(check(names, listed).is_err(), "{names:?} in {listed:?}");
        }
    }

    #[test]
    fn image_of_another_recipe_is_outdated_whatever_the_form_of_its_name() {
        for (name, release, suite) in [
            ("sshchurn/openssh:bookworm-f98b8acd", None, "bookworm"),
            (
                "sshchurn/openssh:trixie-backports-f98b8acd",
                None,
                "trixie-backports",
            ),
            (
                "sshchurn/openssh:9.2-bookworm-zzzzzzzz",
                Some(Release::new(9, 2)),
                "bookworm",
            ),
        ] {
            let image = ImageInfo::new(name, String::new(), 1, None);
            assert_eq!((image.release, image.suite.as_str()), (release, suite));
            assert!(image.is_outdated(&RECIPE), "{name}");
        }
    }

    #[test]
    fn another_release_than_asked_for_is_an_error_that_names_both_and_a_patch_level_is_not() {
        for brought in ["OpenSSH_10.0p1", "OpenSSH_10.0p2"] {
            let release = check_release(Suite::Trixie, brought).expect("the same release");
            assert_eq!(release, Release::new(10, 0));
        }
        let error = check_release(Suite::Forky, "OpenSSH_10.7p1").expect_err("another release");
        assert!(matches!(error, ServerError::Unavailable { .. }));
        let text = error.to_string();
        assert!(
            text.contains("OpenSSH_10.7p1") && text.contains("OpenSSH 10.6"),
            "{text}"
        );
    }

    #[test]
    fn container_that_is_only_looked_into_has_an_owner_too() {
        let owner = Owner::this_process().expect("/proc is there");
        let labels = scratch_labels(&owner);
        assert_eq!(labels.get(OWNER_LABEL), Some(&owner.to_string()));
    }
}
