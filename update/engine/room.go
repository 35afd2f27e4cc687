package engine

import "errors"

// ErrNoRoom says that the storage has not enough room for what is to be downloaded. Unlike the errors that
// IsNoSpace recognises, it is known before the download.
var ErrNoRoom = errors.New("not enough room for the download")
