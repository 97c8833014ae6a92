"""Every error that a client or an operator can meet, as one tree.

    ScribelaneError
    ├── RequestError                 the request is refused; nothing was accepted
    │   ├── Unauthorized             unauthorized
    │   ├── Forbidden                forbidden
    │   ├── NotFound                 not_found
    │   ├── Conflict                 conflict
    │   │   └── IdempotencyInFlight  idempotency_in_flight
    │   ├── InvalidRequest           invalid_request
    │   │   ├── UnknownModel         unknown_model
    │   │   ├── UrlNotAllowed        url_not_allowed
    │   │   ├── NoReranker           rerank_not_configured
    │   │   ├── EmptyUpload          empty_upload
    │   │   └── IdempotencyMismatch  idempotency_mismatch
    │   ├── RateLimited              rate_limited
    │   ├── UploadTooLarge           upload_too_large
    │   ├── UnsupportedMedia         unsupported_media_type
    │   ├── QuotaExceeded            quota_exceeded
    │   └── Unavailable              unavailable
    │       └── SearchUnavailable    search_unavailable
    ├── JobError                     an accepted job ends as `failed` with this code
    │   ├── MediaUnreadable          media_unreadable
    │   ├── MediaTooLong             media_too_long
    │   ├── MediaTooLarge            media_too_large
    │   ├── AddressRefused           url_not_allowed
    │   ├── FileUnavailable          file_unavailable
    │   ├── VideoUnavailable         video_unavailable
    │   ├── VideoPrivate             video_private
    │   ├── VideoLive                video_live
    │   ├── VideoAgeRestricted       video_age_restricted
    │   ├── DownloadBlocked          download_blocked
    │   ├── DownloadFailed           download_failed
    │   ├── PdfUnreadable            pdf_unreadable
    │   ├── PdfEncrypted             pdf_encrypted
    │   ├── PdfNoText                pdf_no_text
    │   ├── OverQuota                quota_exceeded
    │   ├── TaskUnsupported          task_unsupported
    │   ├── LanguageUnsupported      language_unsupported
    │   ├── ModelUnavailable         model_unavailable
    │   ├── ChunkCrashed             chunk_crashed
    │   ├── ChunkTimeout             timeout
    │   ├── OutOfMemory              out_of_memory
    │   ├── DeviceBroken             device_failed
    │   ├── StoreUnavailable         store_unavailable
    │   └── Internal                 internal
    ├── BackupFailed                 a backup was not made, or not restored; nothing else was changed
    ├── LeaseLost                    this attempt no longer owns its chunk; its result is dropped
    └── Misconfigured                a setting cannot work; the process says why and exits

Rules raise these; `service.problems` maps a `RequestError` to HTTP once, and `workers.attempts`
writes a `JobError` to the job once. `code` is stable: clients and dashboards rely on it.
`retryable` says whether the same input may succeed on another try; `core.retry` says what the service itself does.
"""

from __future__ import annotations

from typing import ClassVar


class ScribelaneError(Exception):
    """Base of the tree. The docstring of a class is its message unless one is given."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().split("\n")[0]
        super().__init__(self.message)


class RequestError(ScribelaneError):
    """The request was refused. `retry_after_s`: when it may be sent again, where that is known."""

    code = "invalid_request"

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        """`retry_after_s`: when the same request may pass; None where time alone does not help."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unauthorized(RequestError):
    """Send a valid key as `Authorization: Bearer sl_…`."""

    code = "unauthorized"


class Forbidden(RequestError):
    """This key may not do that."""

    code = "forbidden"


class NotFound(RequestError):
    """There is no such thing in this account."""

    code = "not_found"


class Conflict(RequestError):
    """The job is not in a state that allows this."""

    code = "conflict"


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key is not answered yet; try again shortly."""

    code = "idempotency_in_flight"
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = 2.0) -> None:
        super().__init__(message, retry_after_s=retry_after_s)


class InvalidRequest(RequestError):
    """The request is not of the form that this call takes."""

    code = "invalid_request"


class UnknownModel(InvalidRequest):
    """No such model is registered for this kind of job."""

    code = "unknown_model"


class UrlNotAllowed(InvalidRequest):
    """This service does not fetch that URL."""

    code = "url_not_allowed"


class NoReranker(InvalidRequest):
    """This service has no model that re-ranks: leave `rerank` out, or ask its operator for one."""

    code = "rerank_not_configured"


class EmptyUpload(InvalidRequest):
    """The uploaded file is empty."""

    code = "empty_upload"


class IdempotencyMismatch(InvalidRequest):
    """This Idempotency-Key came before with another request; take a new key for a new job."""

    code = "idempotency_mismatch"


class RateLimited(RequestError):
    """This account has asked too often; wait for the seconds of `Retry-After`."""

    code = "rate_limited"
    retryable = True


class UploadTooLarge(RequestError):
    """The upload is larger than the account's tier accepts."""

    code = "upload_too_large"


class UnsupportedMedia(RequestError):
    """Send the file as multipart/form-data in the field `file`."""

    code = "unsupported_media_type"


class QuotaExceeded(RequestError):
    """Nothing is left of the account's quota; it renews with the calendar month in UTC."""

    code = "quota_exceeded"


class Unavailable(RequestError):
    """A part that this call needs does not answer; try again shortly."""

    code = "unavailable"
    retryable = True


class SearchUnavailable(Unavailable):
    """No query worker answered in time; try again shortly."""

    code = "search_unavailable"


class JobError(ScribelaneError):
    """The job cannot be finished."""


class MediaUnreadable(JobError):
    """The file holds no audio that can be decoded."""

    code = "media_unreadable"


class MediaTooLong(JobError):
    """The recording is longer than the account's tier accepts."""

    code = "media_too_long"


class MediaTooLarge(JobError):
    """What the URL leads to is larger than the account's tier accepts."""

    code = "media_too_large"


class AddressRefused(JobError):
    """The URL leads to an address that this service does not fetch from."""

    code = "url_not_allowed"


class FileUnavailable(JobError):
    """The URL leads to no file that this service can fetch."""

    code = "file_unavailable"


class VideoUnavailable(JobError):
    """There is no such video, or it cannot be seen from where this service runs."""

    code = "video_unavailable"


class VideoPrivate(JobError):
    """The video is private, or for members only; upload a recording of it instead."""

    code = "video_private"


class VideoLive(JobError):
    """The video is live or has not begun; submit it again when its recording is there."""

    code = "video_live"


class VideoAgeRestricted(JobError):
    """The video is shown only to those who have proved their age; upload a recording of it instead."""

    code = "video_age_restricted"


class DownloadBlocked(JobError):
    """YouTube does not let this service download; the operator may set cookies or a proxy, or upload the recording."""

    code = "download_blocked"


class DownloadFailed(JobError):
    """The download broke off each time it was tried; try again later, or upload the file."""

    code = "download_failed"
    retryable = True


class PdfUnreadable(JobError):
    """The file is not a PDF that can be read."""

    code = "pdf_unreadable"


class PdfEncrypted(JobError):
    """The PDF is encrypted and opens only with a password; upload a copy without one."""

    code = "pdf_encrypted"


class PdfNoText(JobError):
    """The PDF holds no text: its pages are blank, or drawn; text in images needs OCR first."""

    code = "pdf_no_text"


class OverQuota(JobError):
    """The job takes more than is left of the account's quota; it renews with the calendar month in UTC."""

    code = "quota_exceeded"


class TaskUnsupported(JobError):
    """The service's default model does not translate; name one that does with `model`, such as `base`."""

    code = "task_unsupported"


class LanguageUnsupported(JobError):
    """The service's default model does not know this language; name one that does with `model`, such as `base`."""

    code = "language_unsupported"


class ModelUnavailable(JobError):
    """The weights of this model cannot be had on the service's machines; name another, or ask the operator."""

    code = "model_unavailable"


class ChunkCrashed(JobError):
    """The worker process died on this part of the input each time it was tried."""

    code = "chunk_crashed"


class ChunkTimeout(JobError):
    """This part of the input took longer than the time limit."""

    code = "timeout"


class OutOfMemory(JobError):
    """The worker had not enough memory for this part of the input; the operator may give it more, or try again."""

    code = "out_of_memory"
    retryable = True


class DeviceBroken(JobError):
    """The GPU failed on this part of the input each time it was tried; the operator's log says how."""

    code = "device_failed"
    retryable = True


class StoreUnavailable(JobError):
    """A store that the work needs (media, database, a worker's disk) was away or full for most of a day; try again."""

    code = "store_unavailable"
    retryable = True


class Internal(JobError):
    """The service failed on this part of the input; the operator's log says why."""

    code = "internal"
    retryable = True


class BackupFailed(ScribelaneError):
    """The backup was not made, or not restored."""

    code = "backup_failed"


class LeaseLost(ScribelaneError):
    """Another attempt owns this chunk now, or its job has ended."""


class Misconfigured(ScribelaneError):
    """A setting cannot work."""

    code = "misconfigured"
