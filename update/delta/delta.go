// Package delta says how images are asked for that hold only what differs between two others. It is a leaf:
// package cloud asks the delta server, package execute uses what it answers.
package delta

import (
	"context"
	"errors"
	"time"
)

// ErrNone says that the server has no delta between the two images and will have none. The image is pulled as a
// whole then.
var ErrNone = errors.New("the server offers no delta")

// ErrProcessing says that the server is still making the delta. The agent asks again later.
var ErrProcessing = errors.New("the server is still making the delta")

// Source offers deltas (docs/spec/engine.md 8.5).
type Source interface {
	// Request returns the name of an image from which the engine makes dst where it has src, and a token to
	// pull that image. It waits for timeout at most. Its errors may be ErrNone and ErrProcessing.
	Request(ctx context.Context, src, dst string, timeout time.Duration) (image, token string, err error)
}
