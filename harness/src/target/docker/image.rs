//! The image of the docker target: found, built from its Dockerfile, or made from the distribution's packages.
//!
//! Images are named after a hash of both recipes, so that a changed recipe is a new image and an unchanged one is never
//! built twice. It must not start containers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
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

use super::engine::{Engine, failed, is_missing};
use super::tar;
use crate::target::{TargetError, io_error};

const DOCKERFILE: &str = include_str!("../../../../containers/openssh/Dockerfile");
const OFFLINE: &str = include_str!("../../../../containers/openssh/build-offline.sh");
const REPOSITORY: &str = "sshchurn/openssh";
const LABEL: &str = "sshchurn.image";
/// The suite whose packages are used where the host is no Debian machine.
const SUITE: &str = "bookworm";
/// How long pulling the base image may take before the packages are tried instead.
const PULL_WITHIN: Duration = Duration::from_secs(60);
/// How long either build may take.
const BUILD_WITHIN: Duration = Duration::from_secs(600);

/// An image of an OpenSSH server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `sshchurn/openssh:<suite>-<hash of the recipe>`.
    pub name: String,
    /// Content hash.
    pub id: String,
    /// Size on disk, bytes.
    pub size_bytes: u64,
}

/// Finds the image or makes it.
///
/// # Errors
/// [`TargetError::Unavailable`] when it cannot be made either way.
pub async fn build(progress: &(dyn Fn(&str) + Send + Sync)) -> Result<ImageInfo, TargetError> {
    ensure(&Engine::connect().await?, progress).await
}

/// The images made so far.
///
/// # Errors
/// [`TargetError`] when the engine does not answer.
pub async fn list() -> Result<Vec<ImageInfo>, TargetError> {
    let engine = Engine::connect().await?;
    let filters = HashMap::from([("reference", vec![REPOSITORY])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let images = engine
        .ask("list images", engine.docker().list_images(Some(options)))
        .await?;
    Ok(images
        .into_iter()
        .flat_map(|image| {
            let (id, size) = (image.id, image.size);
            image.repo_tags.into_iter().map(move |name| ImageInfo {
                name,
                id: id.clone(),
                size_bytes: u64::try_from(size).unwrap_or(0),
            })
        })
        .collect())
}

pub(super) async fn ensure(
    engine: &Engine,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<ImageInfo, TargetError> {
    let name = name();
    if let Some(image) = find(engine, &name).await? {
        return Ok(image);
    }
    progress(&format!(
        "building image {name} (once; later runs reuse it)"
    ));
    let pulled = match base(engine).await {
        Ok(()) => from_dockerfile(engine, &name).await,
        Err(error) => Err(error),
    };
    if let Err(no_base) = pulled {
        progress(&format!(
            "no image registry ({no_base}); building from the distribution's packages"
        ));
        from_packages(engine, &name).await?;
    }
    match find(engine, &name).await? {
        Some(image) => Ok(image),
        None => Err(failed(
            "build the image",
            "the engine does not have it afterwards",
        )),
    }
}

fn name() -> String {
    let mut hasher = DefaultHasher::new();
    (DOCKERFILE, OFFLINE).hash(&mut hasher);
    format!("{REPOSITORY}:{SUITE}-{:08x}", hasher.finish() & 0xffff_ffff)
}

async fn find(engine: &Engine, name: &str) -> Result<Option<ImageInfo>, TargetError> {
    let inspect = async {
        match engine.docker().inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let image = engine.ask("inspect the image", inspect).await?;
    Ok(image.map(|image| ImageInfo {
        name: name.to_owned(),
        id: image.id.unwrap_or_default(),
        size_bytes: image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(0),
    }))
}

/// Makes sure of the base image: it is there, or can be pulled.
async fn base(engine: &Engine) -> Result<(), String> {
    let base = format!("debian:{SUITE}-slim");
    if engine.docker().inspect_image(&base).await.is_ok() {
        return Ok(());
    }
    let options = CreateImageOptionsBuilder::new()
        .from_image("debian")
        .tag(&format!("{SUITE}-slim"))
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

async fn from_dockerfile(engine: &Engine, name: &str) -> Result<(), String> {
    let arguments = HashMap::from([
        ("BASE".to_owned(), format!("{SUITE}-slim")),
        ("SUITE".to_owned(), SUITE.to_owned()),
    ]);
    let labels = HashMap::from([(LABEL.to_owned(), "dockerfile".to_owned())]);
    let options = BuildImageOptionsBuilder::new()
        .t(name)
        .buildargs(&arguments)
        .labels(&labels)
        .rm(true)
        .build();
    let context = Bytes::from(tar::of_one_file("Dockerfile", DOCKERFILE.as_bytes()));
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
async fn from_packages(engine: &Engine, name: &str) -> Result<(), TargetError> {
    let folder = tempfile::Builder::new()
        .prefix("sshchurn-image-")
        .tempdir()
        .map_err(io_error("create a temporary folder"))?;
    let output = folder.path().join("rootfs.tar");
    run_offline_build(&output).await?;
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

async fn run_offline_build(output: &Path) -> Result<(), TargetError> {
    let mut command = Command::new("bash");
    command
        .args(["-c", OFFLINE, "build-offline.sh", SUITE])
        .arg(output)
        // Its scratch folder lies in ours, and goes with it also when the build is killed.
        .env("TMPDIR", output.parent().unwrap_or(Path::new("/tmp")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let unavailable = |why: String| TargetError::Unavailable {
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
