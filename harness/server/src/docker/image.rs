//! The image of the docker target: found, built from its Dockerfile, or made from the distribution's packages.
//!
//! Images are named after their release and a hash of both recipes, so that a changed recipe is a new image and an
//! unchanged one is never built twice. It must not start containers.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use testcontainers::bollard::body_full;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ListImagesOptionsBuilder,
};
use tokio::process::Command;

use super::engine::{Engine, Removal, failed, is_missing};
use super::{OWNER_LABEL, Suite, tar};
use crate::owner::Owner;
use crate::ward::{Kind, MARK, Ward};
use crate::{ServerError, io_error};
use sshchurn_core::release::{Release, release_word};

const REPOSITORY: &str = "sshchurn/openssh";
const LABEL: &str = "sshchurn.image";
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

/// An image of an OpenSSH server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `sshchurn/openssh:<release>-<suite>-<hash of the recipe>`.
    pub name: String,
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
    /// Whether it is the image of this suite by this recipe.
    #[must_use]
    pub fn is_current(&self, recipe: &Recipe, suite: Suite) -> bool {
        self.name == name(recipe, suite)
    }

    /// Whether it was made by another recipe than this one; then no run uses it.
    #[must_use]
    pub fn is_outdated(&self, recipe: &Recipe) -> bool {
        !Suite::ALL
            .into_iter()
            .any(|suite| self.is_current(recipe, suite))
    }

    fn new(name: &str, id: String, size: i64) -> Self {
        let (release, suite) = parse_name(name);
        ImageInfo {
            name: name.to_owned(),
            release,
            suite: suite.to_owned(),
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
}

/// Finds the image or makes it.
///
/// # Errors
/// [`ServerError::Unavailable`] when it cannot be made either way, or when the suite brings another release by now.
pub async fn build(
    recipe: &Recipe,
    suite: Suite,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<ImageInfo, ServerError> {
    Ok(ensure(&Engine::connect().await?, recipe, suite, progress)
        .await?
        .image)
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
            let (id, size) = (image.id, image.size);
            image
                .repo_tags
                .into_iter()
                .map(move |name| ImageInfo::new(&name, id.clone(), size))
        })
        .collect();
    images.sort_by(|a, b| (a.release, &a.name).cmp(&(b.release, &b.name)));
    Ok(images)
}

pub(super) async fn ensure(
    engine: &Engine,
    recipe: &Recipe,
    suite: Suite,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Ready, ServerError> {
    let name = name(recipe, suite);
    if let Some(image) = find(engine, &name).await? {
        return ready(engine, suite, image).await;
    }
    progress(&format!(
        "building image {name} (once; later runs reuse it)"
    ));
    let pulled = match base(engine, suite).await {
        Ok(()) => from_dockerfile(engine, recipe, suite, &name).await,
        Err(error) => Err(error),
    };
    if let Err(why) = pulled {
        progress(&format!(
            "not built from the Dockerfile ({why}); building from the distribution's packages"
        ));
        from_packages(engine, recipe, suite, &name).await?;
    }
    let Some(image) = find(engine, &name).await? else {
        return Err(failed(
            "build the image",
            "the engine does not have it afterwards",
        ));
    };
    match ready(engine, suite, image).await {
        // Its name would say what is not in it.
        Err(error @ ServerError::Unavailable { .. }) => {
            engine.remove_image(&name).await?;
            Err(error)
        }
        other => other,
    }
}

/// Looks into the image: what it holds decides about keywords and wording, not what it is called.
async fn ready(engine: &Engine, suite: Suite, image: ImageInfo) -> Result<Ready, ServerError> {
    let release_text = release_of(engine, &image.name).await?;
    let release = check_release(suite, &release_text)?;
    Ok(Ready {
        image,
        release,
        release_text,
    })
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

/// The release in an image, read without starting it; both recipes leave its name in a file.
async fn release_of(engine: &Engine, image: &str) -> Result<String, ServerError> {
    let owner = Owner::this_process().map_err(io_error("read /proc"))?;
    let scratch = format!("sshchurn-release-{}", std::process::id());
    let removal = Removal::of(scratch.clone());
    let id = engine
        .create(&scratch, image, scratch_labels(&owner))
        .await?;
    let file = engine
        .file(&id, "/etc/sshchurn/release")
        .await?
        .unwrap_or_default();
    engine.remove(&id).await?;
    removal.done();
    let text = String::from_utf8_lossy(&file).into_owned();
    release_word(&text)
        .map(str::to_owned)
        .ok_or_else(|| failed("read the image's release", "the image does not say"))
}

/// As every container: a run that is killed while it looks leaves it, and the next one finds it by its owner.
fn scratch_labels(owner: &Owner) -> HashMap<String, String> {
    HashMap::from([(OWNER_LABEL.to_owned(), owner.to_string())])
}

fn name(recipe: &Recipe, suite: Suite) -> String {
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

async fn find(engine: &Engine, name: &str) -> Result<Option<ImageInfo>, ServerError> {
    let inspect = async {
        match engine.docker().inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let image = engine.ask("inspect the image", inspect).await?;
    Ok(image
        .map(|image| ImageInfo::new(name, image.id.unwrap_or_default(), image.size.unwrap_or(0))))
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

async fn from_dockerfile(
    engine: &Engine,
    recipe: &Recipe,
    suite: Suite,
    name: &str,
) -> Result<(), String> {
    let arguments = HashMap::from([
        ("BASE".to_owned(), suite.base_tag().to_owned()),
        ("SUITE".to_owned(), suite.as_str().to_owned()),
    ]);
    let labels = HashMap::from([(LABEL.to_owned(), "dockerfile".to_owned())]);
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
async fn from_packages(
    engine: &Engine,
    recipe: &Recipe,
    suite: Suite,
    name: &str,
) -> Result<(), ServerError> {
    let ward = Ward::create(&std::env::temp_dir(), Kind::Image)
        .map_err(io_error("create a temporary folder"))?;
    let output = ward.path().join("rootfs.tar");
    run_offline_build(recipe, suite, &ward, &output).await?;
    let archive = tokio::fs::read(&output)
        .await
        .map_err(io_error("read the root file system"))?;
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .changes(vec![format!("LABEL {LABEL}=packages")])
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
    recipe: &Recipe,
    suite: Suite,
    ward: &Ward,
    output: &Path,
) -> Result<(), ServerError> {
    let mut command = Command::new("bash");
    command
        .args([
            "-c",
            recipe.from_packages,
            "build-offline.sh",
            suite.as_str(),
        ])
        .arg(output)
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
        fix: String::from(
            "make the base image available to the Docker engine, or use `--target local`",
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
            let name = name(&RECIPE, suite);
            assert_eq!(parse_name(&name), (Some(suite.release()), suite.as_str()));
            let image = ImageInfo::new(&name, String::new(), 1);
            assert!(image.is_current(&RECIPE, suite) && !image.is_outdated(&RECIPE));
        }
        assert_ne!(
            name(&RECIPE, Suite::Trixie),
            name(&RECIPE, Suite::TrixieBackports)
        );
    }

    /// Written down: another hash would make every image of every user anew.
    #[test]
    fn hash_of_a_recipe_is_the_same_from_every_toolchain() {
        assert_eq!(
            name(&RECIPE, Suite::Bookworm),
            "sshchurn/openssh:9.2-bookworm-eb836a14"
        );
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
            let image = ImageInfo::new(name, String::new(), 1);
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
