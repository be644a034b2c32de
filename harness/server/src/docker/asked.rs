//! A container whose sshd is asked about a configuration, and starts no server.
//!
//! Owns it and its files. It has no network.

use testcontainers::bollard::{self, query_parameters::UploadToContainerOptionsBuilder};
use testcontainers::core::WaitFor;
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};

use super::container::Container;
use super::engine::{Engine, Removal, failed};
use super::image::{self, Recipe, Wanted};
use super::suite::Suite;
use super::{OWNER_LABEL, tar};
use crate::config_reader::Said;
use crate::owner::Owner;
use crate::{ServerError, io_error, key_error};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::Packages;
use sshchurn_engine::ssh::keys::KeyPair;

/// Stays until it is told to end.
const INIT: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";
/// Root's sshd wants its folder, and its host key closed to others.
const ASK: &str =
    "mkdir -p /run/sshd && chmod 600 /etc/sshchurn/host_key && exec /usr/sbin/sshd \"$@\"";

/// The container, removed when dropped.
pub(crate) struct AskedContainer {
    container: Container,
    engine: Engine,
    pub(crate) release: Release,
    pub(crate) release_text: String,
}

impl AskedContainer {
    /// Where the files are in it; the images have this folder.
    pub(crate) const FOLDER: &'static str = "/etc/sshchurn";

    pub(crate) async fn start(
        recipe: &Recipe,
        suite: Suite,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, ServerError> {
        let engine = Engine::connect().await?;
        super::remove_stale(&engine).await?;
        let wanted = Wanted {
            recipe,
            suite,
            packages: &Packages::new(),
        };
        let ready = image::ensure(&engine, wanted, progress).await?;
        let owner = Owner::this_process().map_err(io_error("read /proc"))?;
        let image = &ready.image.name;
        let (repository, tag) = image.split_once(':').unwrap_or((image, "latest"));
        // Process ids are not one's own where several containers share an engine.
        let name = format!(
            "sshchurn-asked-{}-{:016x}",
            suite.as_str(),
            rand::random::<u64>()
        );
        let host_key = KeyPair::generate().map_err(key_error)?;
        let request = GenericImage::new(repository, tag)
            .with_entrypoint("/bin/sh")
            .with_wait_for(WaitFor::Nothing)
            .with_cmd(["-c", INIT])
            .with_container_name(&name)
            .with_labels([(OWNER_LABEL, owner.to_string())])
            .with_copy_to(
                "/etc/sshchurn/host_key",
                host_key.private_pem().map_err(key_error)?.into_bytes(),
            )
            .with_network("none");
        let removal = Removal::of(&name);
        let running = request
            .start()
            .await
            .map_err(|error| failed("start the container", error))?;
        removal.done();
        Ok(AskedContainer {
            container: Container::new(running, &engine),
            engine,
            release: ready.release,
            release_text: ready.release_text,
        })
    }

    /// Puts a file beside the others.
    pub(crate) async fn put(&self, name: &str, text: &str) -> Result<(), ServerError> {
        let options = UploadToContainerOptionsBuilder::new()
            .path(Self::FOLDER)
            .build();
        let archive = tar::of_one_file(name, text.as_bytes());
        let upload = self.engine.docker().upload_to_container(
            self.container.id(),
            Some(options),
            bollard::body_full(archive.into()),
        );
        self.engine
            .ask("copy a file into the container", upload)
            .await
    }

    pub(crate) async fn ask(&self, arguments: &[&str]) -> Result<Said, ServerError> {
        let mut command = vec!["/bin/sh", "-c", ASK, "ask"];
        command.extend(arguments);
        let ran = self.container.inside().exec(&command).await?;
        Ok(Said {
            accepted: ran.exit_code == Some(0),
            stdout: ran.text(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        })
    }

    pub(crate) async fn end(self) -> Result<(), ServerError> {
        self.container.remove().await
    }
}
