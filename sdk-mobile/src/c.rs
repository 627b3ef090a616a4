//! The calls of `include/wakeline.h`. A test compiles the header with a C compiler and calls each against this.
#![expect(unsafe_code, reason = "C passes pointers")]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::ptr;
use std::sync::Arc;

use crate::app::{App, Task, Upload};
use crate::clock::DeviceClock;
use crate::ffi::quietly;
use crate::settings::{Settings, Target};

const SEND: i32 = 1;
const WAIT: i32 = 2;
const STOP: i32 = 3;

/// `wakeline_task`.
#[repr(C)]
#[derive(Debug)]
pub struct CTask {
    id: u64,
    url: *mut c_char,
    headers: *mut c_char,
    body: *mut u8,
    body_size: usize,
}

/// A text of the caller's; empty if it is NULL. What is not UTF-8 is replaced, and so found in the events.
///
/// # Safety
/// `text` is NULL or ends with a NUL, and stays as it is until the caller's call returns.
unsafe fn text<'a>(text: *const c_char) -> Cow<'a, str> {
    if text.is_null() {
        return Cow::Borrowed("");
    }
    // SAFETY: not NULL, and the caller promises the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy()
}

/// Calls with an SDK, unless it is NULL.
///
/// # Safety
/// `sdk` is NULL or came from `wakeline_open` and was not closed.
unsafe fn with<T: Default>(sdk: *const App, call: impl FnOnce(&App) -> T) -> T {
    // SAFETY: by the caller's promise.
    unsafe { sdk.as_ref() }.map_or_else(T::default, |sdk| quietly(|| call(sdk)))
}

/// Writes as much of a message as fits, with a NUL.
///
/// # Safety
/// `error` is NULL or has room for `size` bytes.
unsafe fn say(error: *mut c_char, size: usize, message: &str) {
    if error.is_null() || size == 0 {
        return;
    }
    let message = message
        .get(..crate::input::boundary(message, size - 1))
        .unwrap_or_default();
    // SAFETY: there is room for the message and a NUL, and the two don't overlap.
    unsafe {
        ptr::copy_nonoverlapping(message.as_ptr().cast(), error, message.len());
        *error.add(message.len()) = 0;
    }
}

/// A text for the caller, who frees it by [`wakeline_text_free`].
fn given(mut text: String) -> *mut c_char {
    text.retain(|c| c != '\0');
    CString::new(text).map_or(ptr::null_mut(), CString::into_raw)
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_open(
    settings: *const c_char,
    error: *mut c_char,
    error_size: usize,
) -> *mut App {
    // SAFETY: by the header's promises.
    let settings = unsafe { text(settings) };
    let opened = quietly(|| {
        Some(
            Settings::parse(&settings)
                .map_err(|error| error.to_string())
                .and_then(|settings| {
                    App::open(settings, Arc::new(DeviceClock::new()))
                        .map_err(|error| error.to_string())
                }),
        )
    });
    match opened {
        Some(Ok(app)) => Box::into_raw(Box::new(app)),
        Some(Err(message)) => {
            // SAFETY: by the header's promises.
            unsafe { say(error, error_size, &message) };
            ptr::null_mut()
        }
        None => ptr::null_mut(),
    }
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_close(sdk: *mut App, timeout_ms: u64) -> bool {
    if sdk.is_null() {
        return false;
    }
    // SAFETY: it came from `wakeline_open`, and is not used any more.
    let sdk = unsafe { Box::from_raw(sdk) };
    quietly(|| sdk.shutdown(timeout_ms))
}

/// Declares calls that pass texts on.
macro_rules! calls {
    ($($name:ident => |$app:ident $(, $text:ident)*| $call:expr => $result:ty;)*) => {$(
        /// See `wakeline.h`.
        ///
        /// # Safety
        /// As the header says.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(sdk: *const App $(, $text: *const c_char)*) -> $result {
            // SAFETY: by the header's promises.
            $(let $text = unsafe { text($text) };)*
            // SAFETY: the same.
            unsafe { with(sdk, |$app| $call) }
        }
    )*};
}

calls! {
    wakeline_record => |app, event| app.record(&event) => bool;
    wakeline_identify => |app, user| app.identify(&user) => bool;
    wakeline_reset => |app| app.reset() => ();
    wakeline_set_consent => |app, consent| app.set_consent(&consent) => ();
    wakeline_set_defaults => |app, properties| app.set_defaults(&properties) => ();
    wakeline_start_timer => |app, name| app.start_timer(&name) => ();
    wakeline_lifecycle => |app, state| app.lifecycle(&state) => ();
    wakeline_network => |app, state| app.network(&state) => ();
    wakeline_open_link => |app, url| app.open_link(&url) => ();
    wakeline_open_push => |app, campaign| app.open_push(&campaign) => ();
    wakeline_flush => |app| app.flush() => ();
    wakeline_forget => |app| app.forget() => ();
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_sync(sdk: *const App, timeout_ms: u64) -> bool {
    // SAFETY: by the header's promises.
    unsafe { with(sdk, |app| app.sync(timeout_ms)) }
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_next_task(
    sdk: *const App,
    wait_ms: u64,
    task: *mut CTask,
) -> i32 {
    if task.is_null() {
        return WAIT; // a batch that nobody gets would never be answered
    }
    // SAFETY: by the header's promises.
    let next = unsafe { with(sdk, |app| Some(app.next_task(wait_ms))) };
    match next {
        Some(Task::Send(upload)) => {
            // SAFETY: not NULL, so there is room for a task.
            unsafe { task.write(CTask::from(upload)) };
            SEND
        }
        Some(Task::Wait) => WAIT,
        Some(Task::Stop) | None => STOP,
    }
}

impl From<Upload> for CTask {
    fn from(upload: Upload) -> Self {
        let headers: String = upload
            .headers
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), ": ".to_owned(), value, "\r\n".to_owned()])
            .collect();
        let body = upload.body.into_boxed_slice();
        Self {
            id: upload.id,
            url: given(upload.url),
            headers: given(headers),
            body_size: body.len(),
            body: Box::into_raw(body).cast(),
        }
    }
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_task_free(task: *mut CTask) {
    // SAFETY: NULL, or a task that `wakeline_next_task` filled, which is freed once: it is emptied here.
    unsafe {
        let Some(task) = task.as_mut() else { return };
        wakeline_text_free(std::mem::replace(&mut task.url, ptr::null_mut()));
        wakeline_text_free(std::mem::replace(&mut task.headers, ptr::null_mut()));
        let body = std::mem::replace(&mut task.body, ptr::null_mut());
        if !body.is_null() {
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(
                body,
                task.body_size,
            )));
        }
    }
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_task_done(
    sdk: *const App,
    id: u64,
    status: u16,
    retry_after: *const c_char,
    body: *const u8,
    body_size: usize,
) {
    // SAFETY: by the header's promises.
    let retry_after = unsafe { text(retry_after) };
    let body = if body.is_null() {
        &[]
    } else {
        // SAFETY: not NULL, and the caller says that there are so many bytes.
        unsafe { std::slice::from_raw_parts(body, body_size) }
    };
    // SAFETY: by the header's promises.
    unsafe { with(sdk, |app| app.task_done(id, status, &retry_after, body)) }
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_status(sdk: *const App) -> *mut c_char {
    // SAFETY: by the header's promises.
    given(unsafe { with(sdk, App::status) })
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_text_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: it came from `given`, and is freed once.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// See `wakeline.h`.
///
/// # Safety
/// As the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wakeline_reconfigure(
    sdk: *const App,
    settings: *const c_char,
    error: *mut c_char,
    error_size: usize,
) -> bool {
    // SAFETY: by the header's promises.
    let settings = unsafe { text(settings) };
    match Target::parse(&settings) {
        Ok(target) => {
            // SAFETY: by the header's promises.
            unsafe { with(sdk, |app| app.reconfigure(target)) };
            !sdk.is_null()
        }
        Err(wrong) => {
            // SAFETY: by the header's promises.
            unsafe { say(error, error_size, &wrong.to_string()) };
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_room_for_it_is_not_taken() {
        let data = tempfile::tempdir().unwrap();
        let settings = serde_json::json!({"key": "wk_1", "url": "https://collector.example", "data_dir": data.path()});
        let settings = CString::new(settings.to_string()).unwrap();
        // SAFETY: what is passed is NULL, or of the kind and size that the header says, and freed once.
        unsafe {
            let sdk = wakeline_open(settings.as_ptr(), ptr::null_mut(), 0);
            assert!(wakeline_record(sdk, c"{\"name\": \"tap\"}".as_ptr()));
            wakeline_flush(sdk);
            assert!(wakeline_sync(sdk, 10_000));
            assert_eq!(wakeline_next_task(sdk, 100, ptr::null_mut()), WAIT);
            let mut task = std::mem::MaybeUninit::<CTask>::uninit();
            assert_eq!(wakeline_next_task(sdk, 10_000, task.as_mut_ptr()), SEND);
            wakeline_task_free(task.as_mut_ptr());
            assert!(wakeline_close(sdk, 10_000));
        }
    }
}
