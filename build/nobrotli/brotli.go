// Package brrr stands in for the brotli library that fasthttp compresses with. The supervisor never
// asks for brotli, but the real library's tables, 0.3 MB of every binary and of every start, come
// with it all the same. What is here has the shape fasthttp needs and refuses to work.
package brrr

import (
	"errors"
	"io"
)

// The range of levels that fasthttp names.
const (
	BestSpeed       = 0
	BestCompression = 11
)

var errAbsent = errors.New("brotli is not part of this program")

// Reader refuses to decompress.
type Reader struct{}

// NewReader returns a Reader whose Read fails.
func NewReader(io.Reader) *Reader { return &Reader{} }

// Read fails.
func (*Reader) Read([]byte) (int, error) { return 0, errAbsent }

// Reset does nothing.
func (*Reader) Reset(io.Reader) {}

// Writer refuses to compress.
type Writer struct{}

// NewWriter fails.
func NewWriter(io.Writer, int) (*Writer, error) { return nil, errAbsent }

// Write fails.
func (*Writer) Write([]byte) (int, error) { return 0, errAbsent }

// Flush fails.
func (*Writer) Flush() error { return errAbsent }

// Close fails.
func (*Writer) Close() error { return errAbsent }

// Reset does nothing.
func (*Writer) Reset(io.Writer) {}
