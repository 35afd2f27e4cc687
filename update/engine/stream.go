package engine

import (
	"encoding/json"
	"errors"
	"io"
)

// maxObject bounds one JSON object of a stream, in bytes.
const maxObject = 1 << 20

var errTooLong = errors.New("object is too long")

// eachObject decodes the JSON objects of a stream as they arrive and hands each to fn. It returns
// nil at the stream's proper end, else the error of the stream or of fn.
func eachObject[T any](r io.Reader, fn func(*T) error) error {
	in := &bounded{r: r}
	dec := json.NewDecoder(in)
	for {
		in.left = maxObject
		var v T
		err := dec.Decode(&v)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = fn(&v)
		}
		if err != nil {
			return err
		}
	}
}

// bounded reads no more than left bytes of r.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
