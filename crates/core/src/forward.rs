//! Forwarding: a handle to a store is a store, and a layer hands on what it does not change.
#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use crate::{Namespace, NamespacedStore, Result, Store};

/// Writes methods of [`Store`](crate::Store) that hand on to an inner store, for a layer's
/// `impl Store`.
///
/// The inner boxed future is returned as it is, so that a layer costs one call and no box. Name the
/// field (or give a closure from `&Self` to the inner store), and, after a colon, the methods to
/// forward where the layer has its own versions of others.
///
/// Put `#[deny(clippy::missing_trait_methods)]` on the `impl`: a method that is neither forwarded
/// nor written would silently take the trait's default.
///
/// ```
/// use larder_core::{forward_store, async_trait, DeleteOptions, Result, Store};
///
/// /// Refuses deletions.
/// #[derive(Debug)]
/// struct NoDelete<S>(S);
///
/// #[async_trait]
/// #[deny(clippy::missing_trait_methods)]
/// impl<S: Store> Store for NoDelete<S> {
///     forward_store!(0: get_opts, set_opts, capabilities, exists, expires_in, get_many, set_many,
///         update_expiry, list_page, list_child_namespaces, delete_expired, flush, ping, close);
///
///     async fn delete_opts(&self, _key: &str, _options: DeleteOptions) -> Result<bool> {
///         Ok(false)
///     }
///     async fn delete_all(&self) -> Result<()> {
///         Ok(())
///     }
///     // …, delete_many, delete_prefix
/// #   async fn delete_many(&self, keys: &[&str]) -> Result<larder_core::DeleteManyOutcome> {
/// #       Ok(keys.iter().map(|_| Ok(false)).collect())
/// #   }
/// #   async fn delete_prefix(&self, _prefix: &str) -> Result<u64> {
/// #       Ok(0)
/// #   }
/// }
///
/// /// Changes nothing.
/// #[derive(Debug)]
/// struct Plain<S> { inner: S }
///
/// #[deny(clippy::missing_trait_methods)]
/// impl<S: Store> Store for Plain<S> {
///     forward_store!(inner);
/// }
/// ```
#[macro_export]
macro_rules! forward_store {
    (|$this:ident| $inner:expr) => {
        $crate::forward_store!(|$this| $inner;
            get_opts, set_opts, delete_opts, delete_all, capabilities, exists, expires_in, get_many,
            set_many, delete_many, update_expiry, list_page, list_child_namespaces, delete_prefix,
            delete_expired, flush, ping, close);
    };
    (|$this:ident| $inner:expr; $($method:ident),+ $(,)?) => {
        $($crate::__forward_method!($method, |$this| $inner);)+
    };
    ($field:tt) => {
        $crate::forward_store!(|this| this.$field);
    };
    ($field:tt: $($method:ident),+ $(,)?) => {
        $crate::forward_store!(|this| this.$field; $($method),+);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __forward_method {
    (capabilities, |$this:ident| $inner:expr) => {
        fn capabilities(&self) -> $crate::Capabilities {
            let $this = self;
            $inner.capabilities()
        }
    };
    (get_opts, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, get_opts,
            (key: &'a str, options: $crate::GetOptions), Option<$crate::Entry>);
    };
    (set_opts, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, set_opts,
            (key: &'a str, value: $crate::Bytes, options: $crate::SetOptions), $crate::SetOutcome);
    };
    (delete_opts, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, delete_opts,
            (key: &'a str, options: $crate::DeleteOptions), bool);
    };
    (delete_all, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@none $this, $inner, delete_all, ());
    };
    (exists, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, exists, (key: &'a str), bool);
    };
    (expires_in, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, expires_in, (key: &'a str), $crate::ExpiresIn);
    };
    (get_many, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@two $this, $inner, get_many, (keys: &'a [&'b str]),
            Vec<$crate::Result<Option<$crate::Bytes>>>);
    };
    (set_many, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, set_many,
            (items: Vec<$crate::SetItem<'a>>), Vec<$crate::Result<$crate::SetOutcome>>);
    };
    (delete_many, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@two $this, $inner, delete_many, (keys: &'a [&'b str]),
            $crate::DeleteManyOutcome);
    };
    (update_expiry, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, update_expiry,
            (key: &'a str, expiry: $crate::Expiry), bool);
    };
    (list_page, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@two $this, $inner, list_page,
            (prefix: &'a str, cursor: Option<&'b $crate::Cursor>, limit: usize), $crate::ListPage);
    };
    (list_child_namespaces, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, list_child_namespaces,
            (cursor: Option<&'a $crate::Cursor>, limit: usize), $crate::NamespacePage);
    };
    (delete_prefix, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@one $this, $inner, delete_prefix, (prefix: &'a str), u64);
    };
    (delete_expired, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@none $this, $inner, delete_expired, u64);
    };
    (flush, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@none $this, $inner, flush, ());
    };
    (ping, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@none $this, $inner, ping, ());
    };
    (close, |$this:ident| $inner:expr) => {
        $crate::__forward_method!(@none $this, $inner, close, ());
    };
    // The signatures below are those that async_trait writes for zero, one and two borrowed
    // arguments.
    (@none $this:ident, $inner:expr, $method:ident, $output:ty) => {
        fn $method<'life0, 'async_trait>(
            &'life0 self,
        ) -> $crate::BoxFuture<'async_trait, $crate::Result<$output>>
        where
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            let $this = self;
            $inner.$method()
        }
    };
    (@one $this:ident, $inner:expr, $method:ident, ($($arg:ident: $type:ty),+), $output:ty) => {
        fn $method<'life0, 'a, 'async_trait>(
            &'life0 self,
            $($arg: $type),+
        ) -> $crate::BoxFuture<'async_trait, $crate::Result<$output>>
        where
            'life0: 'async_trait,
            'a: 'async_trait,
            Self: 'async_trait,
        {
            let $this = self;
            $inner.$method($($arg),+)
        }
    };
    (@two $this:ident, $inner:expr, $method:ident, ($($arg:ident: $type:ty),+), $output:ty) => {
        fn $method<'life0, 'a, 'b, 'async_trait>(
            &'life0 self,
            $($arg: $type),+
        ) -> $crate::BoxFuture<'async_trait, $crate::Result<$output>>
        where
            'life0: 'async_trait,
            'a: 'async_trait,
            'b: 'async_trait,
            Self: 'async_trait,
        {
            let $this = self;
            $inner.$method($($arg),+)
        }
    };
}

macro_rules! forward_pointer {
    ($($pointer:ty),+) => {
        $(
            impl<T: Store + ?Sized> Store for $pointer {
                forward_store!(|this| (**this));
            }

            impl<T: NamespacedStore + ?Sized> NamespacedStore for $pointer {
                fn namespace(&self) -> &Namespace {
                    (**self).namespace()
                }

                fn with_namespace(&self, segment: &str) -> Result<Arc<dyn NamespacedStore>> {
                    (**self).with_namespace(segment)
                }

                fn with_path(&self, segments: &[&str]) -> Result<Arc<dyn NamespacedStore>> {
                    (**self).with_path(segments)
                }
            }
        )+
    };
}

forward_pointer!(Arc<T>, Box<T>, &T);
