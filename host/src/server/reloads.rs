//! Putting a new configuration, or a new version of a plugin, in the place of the old.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Error, LostWorker, Server, Task, start_admin};
use crate::admin::{Action, ActionError, Reload, Swapped};
use crate::config::Problems;
use crate::plugin::LoadError;
use crate::snapshot::Snapshot;
use crate::{reload, snapshot};

impl Server {
    /// The error is that the process must end.
    pub(super) async fn work_on(&mut self, task: Task) -> Result<(), LostWorker> {
        match task {
            Task::ReplaceWorkers => {
                return self.workers.replace_lost(&self.state.snapshot(), || self.addresses.bind_again());
            }
            Task::Reload(why) => self.reload(why).await,
            Task::Act(Action::ReloadPlugin { tenant, name, done }) => {
                let outcome = self.reload_plugin(tenant.as_deref(), &name).await;
                // Whoever asked may not have waited for the answer.
                let _ = done.send(outcome);
            }
        }
        Ok(())
    }

    /// Takes up what the configuration says now. If it cannot be taken up as a whole, nothing changes.
    async fn reload(&mut self, why: &str) {
        let previous = self.state.snapshot();
        // Before anything is read, so that no change is overlooked that comes while we read.
        self.watch.note().await;
        let path = previous.config.source.path.clone();
        let (known, plugins) = (Arc::clone(&previous), Arc::clone(self.state.plugins()));
        let prepared = tokio::task::spawn_blocking(move || reload::prepare(&path, &known, &plugins)).await;
        let outcome = match prepared {
            Ok(prepared) => {
                self.watch.follow(prepared.watched).await;
                match prepared.snapshot {
                    Ok(snapshot) => self.take_up(snapshot, &previous).await,
                    Err(problems) => Err(Error::Config(problems)),
                }
            }
            Err(panic) => Err(LoadError(format!("a fault of Lockgate's own: {panic}")).into()),
        };
        self.tell(why, &outcome);
    }

    /// Takes up what the component of that plugin is now; the configuration file is not read. If it cannot be taken up, the
    /// old version stays.
    async fn reload_plugin(&mut self, tenant: Option<&str>, name: &str) -> Result<Swapped, ActionError> {
        let previous = self.state.snapshot();
        if !previous.plugins_of(tenant).iter().any(|plugin| *plugin.name == *name) {
            return Err(ActionError::NoSuchPlugin);
        }
        let (known, plugins, plugin) = (Arc::clone(&previous), Arc::clone(self.state.plugins()), name.to_owned());
        let owner = tenant.map(str::to_owned);
        let rebuild = move || snapshot::rebuild(&known, owner.as_deref(), &plugin, &plugins);
        let rebuilt = tokio::task::spawn_blocking(rebuild).await;
        let outcome = match rebuilt {
            Ok(Ok(snapshot)) => self.take_up(snapshot, &previous).await,
            Ok(Err(problems)) => Err(Error::Config(problems)),
            Err(panic) => Err(LoadError(format!("a fault of Lockgate's own: {panic}")).into()),
        };
        let of_tenant = tenant.map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
        self.tell(&format!("plugin {name}{of_tenant}, by admin"), &outcome);
        outcome.map_err(|error| ActionError::Refused(sentence(&error)))?;
        let now = self.state.snapshot();
        let uses = now.plugins_of(tenant).iter().filter(|plugin| *plugin.name == *name);
        let digests: Vec<_> = uses.clone().map(|plugin| plugin.digest()).collect();
        let before = previous.plugins_of(tenant);
        let swapped = uses.into_iter().any(|plugin| !before.iter().any(|old| Arc::ptr_eq(old, plugin)));
        let digest = digests.into_iter().next();
        let tenant = tenant.map(str::to_owned);
        Ok(Swapped { tenant, plugin: name.to_owned(), generation: now.generation, swapped, digest })
    }

    /// Says how it went, in the log, in the metrics and in the status.
    fn tell(&self, why: &str, outcome: &Result<String, Error>) {
        self.state.metrics().reloaded(outcome.is_ok());
        let says = match outcome {
            Ok(changes) => {
                tracing::info!("reloaded ({why}): {changes}");
                changes.clone()
            }
            Err(error) => {
                tracing::error!("not reloaded ({why}), the old configuration stays: {error}");
                tell_problems(error);
                sentence(error)
            }
        };
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.state.reloaded(Reload { at: at.as_secs(), why: why.to_owned(), ok: outcome.is_ok(), says });
    }

    /// Puts a snapshot in the place of the previous one. Says what is different.
    async fn take_up(&mut self, mut snapshot: Snapshot, previous: &Snapshot) -> Result<String, Error> {
        let workers = self.workers.len();
        let (addresses, sockets) = self.addresses.bind(&mut snapshot, |_| workers)?;
        let changes = reload::changes(previous, &snapshot);
        let snapshot = Arc::new(snapshot);
        let wanted = snapshot.config.admin.as_ref().map(|admin| admin.address);
        if wanted != self.admin.as_ref().map(|(address, _)| *address) {
            self.admin = start_admin(&snapshot, &self.state)?;
        }
        // Nothing can fail any more.
        self.addresses = addresses;
        if previous.config.log.level != snapshot.config.log.level {
            self.loudness.set(snapshot.config.log.level);
        }
        if let Err(error) = self.access_log.reopen(&snapshot.config.log, snapshot.config.source.folder()) {
            tracing::warn!("{error}; access lines go where they went before");
        }
        if !self.workers.swap(&snapshot, sockets).await {
            tracing::warn!("a worker is late in taking up configuration {}", snapshot.generation);
        }
        self.look_after(&snapshot);
        let [before, after] = [previous, &snapshot].map(|it| it.all_plugins().map(|(_, plugin)| plugin));
        self.state.plugins().swapped(before, after);
        tell_refused(&snapshot);
        self.state.swap(snapshot);
        Ok(changes)
    }
}

/// Each problem on a line of its own.
fn tell_problems(error: &Error) {
    let Error::Config(problems) = error else { return };
    tell(problems);
}

/// What is wrong with the tenants' files, and what becomes of them.
pub(super) fn tell_refused(snapshot: &Snapshot) {
    for (name, tenancy) in snapshot.tenants.iter().filter(|(_, tenancy)| tenancy.refused) {
        let tenant = name.as_str();
        match &tenancy.served {
            Some(_) => tracing::error!(tenant, "the tenant's file is refused, and what it said before stays"),
            None => tracing::error!(tenant, "the tenant's file is refused, and its hosts are answered 503"),
        }
    }
    tell(&snapshot.refused);
}

fn tell(problems: &Problems) {
    for file in problems.by_file() {
        for problem in file.iter() {
            let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            tracing::error!("{}: {}: {}{hint}", file.place(&problem.at), problem.at.path, problem.sentence);
        }
    }
}

/// All problems in one line.
fn sentence(error: &Error) -> String {
    let Error::Config(problems) = error else { return error.to_string() };
    let tell = |problems: &Problems| {
        let all = problems.iter().map(|problem| format!("{}: {}", problem.at.path, problem.sentence));
        all.collect::<Vec<_>>().join("; ")
    };
    tell(problems)
}
