use std::time::Duration;

use larder_core::{
    Bytes, Condition, DeleteOptions, Error, ExpiresIn, Expiry, Result, SetOptions, SetOutcome,
};
use redis::Value;

use crate::driver::{bytes, life, number, truth};
use crate::error::{Effect, unexpected};
use crate::expiry::{Life, millis};
use crate::keys::{PhysicalKey, command};
use crate::scripts::{GET_AND_RENEW, GET_WITH_EXPIRY, MAX_MILLIS, SET, Script, UPDATE_EXPIRY};
use crate::store::RedisStore;
use crate::write::{Meaning, Write};

/// What is done to one key, each with one command or one script.
impl RedisStore {
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let command = command("GET", self.physical(key), 0, 0);
        bytes(self.driver().run(&command, Effect::Read).await?, Effect::Read)
    }

    /// The value and its remaining life, of one moment, renewed if that is asked for.
    pub(crate) async fn get_with_life(
        &self,
        key: &str,
        renew_for: Option<Duration>,
    ) -> Result<Option<(Bytes, ExpiresIn)>> {
        let (driver, key) = (self.driver(), Some(self.physical(key)));
        let (reply, effect) = if let Some(duration) = renew_for {
            let (duration, most) = (millis(duration).to_string(), MAX_MILLIS.to_string());
            let args = [duration.as_bytes(), most.as_bytes()];
            let reply = driver.script(&GET_AND_RENEW, key, &args, Effect::Write).await?;
            (reply, Effect::Write)
        } else {
            (driver.script(&GET_WITH_EXPIRY, key, &[], Effect::Read).await?, Effect::Read)
        };
        let unexpected = || unexpected(effect);
        match reply {
            Value::Nil => Ok(None),
            Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([value, left]) => {
                    let value = bytes(value, effect)?.ok_or_else(unexpected)?;
                    Ok(Some((value, life(number(&left, effect)?))))
                }
                Err(_) => Err(unexpected()),
            },
            _ => Err(unexpected()),
        }
    }

    async fn script_write(
        &self,
        script: &Script,
        key: PhysicalKey<'_>,
        args: &[Bytes],
    ) -> Result<Value> {
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        self.driver().script(script, Some(key), &args, Effect::Write).await
    }

    pub(crate) async fn set(
        &self,
        key: &str,
        value: &Bytes,
        options: &SetOptions,
    ) -> Result<SetOutcome> {
        let write = Write::of(self.physical(key), value, options)?;
        let (reply, meaning) = match &write {
            Write::Command(command, meaning) => {
                (self.driver().run(command, Effect::Write).await?, *meaning)
            }
            Write::Script(script, key, args) => {
                (Box::pin(self.script_write(script, *key, args)).await?, Meaning::Counted)
            }
        };
        meaning.outcome(&reply)
    }

    pub(crate) async fn delete(&self, key: &str, options: &DeleteOptions) -> Result<bool> {
        let physical = self.physical(key);
        let reply = match &options.condition {
            Condition::Absent => return Ok(false),
            Condition::Matches(version) => {
                let args: [&[u8]; 4] = [b"=", version.as_bytes(), b"", b"G"];
                let driver = self.driver();
                Box::pin(driver.script(&SET, Some(physical), &args, Effect::Write)).await?
            }
            Condition::Any | Condition::Present => {
                self.driver().run(&command("UNLINK", physical, 0, 0), Effect::Write).await?
            }
            _ => return Err(Error::unsupported("conditions")),
        };
        truth(&reply, Effect::Write)
    }

    pub(crate) async fn renew(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let physical = self.physical(key);
        let driver = self.driver();
        let reply = match Life::of(expiry)? {
            Life::Keep => {
                let reply = driver.run(&command("EXISTS", physical, 0, 0), Effect::Read).await?;
                return truth(&reply, Effect::Read);
            }
            Life::Gone => driver.run(&command("UNLINK", physical, 0, 0), Effect::Write).await?,
            Life::For(millis) => {
                let mut command = command("PEXPIRE", physical, 1, 8);
                driver.run(command.arg(millis), Effect::Write).await?
            }
            Life::Until(millis) => {
                let mut command = command("PEXPIREAT", physical, 1, 16);
                driver.run(command.arg(millis), Effect::Write).await?
            }
            Life::Never => {
                driver.script(&UPDATE_EXPIRY, Some(physical), &[], Effect::Write).await?
            }
            Life::Far(millis) => {
                let (millis, most) = (millis.to_string(), MAX_MILLIS.to_string());
                let args = [millis.as_bytes(), most.as_bytes()];
                driver.script(&UPDATE_EXPIRY, Some(physical), &args, Effect::Write).await?
            }
        };
        truth(&reply, Effect::Write)
    }
}
