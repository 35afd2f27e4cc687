package engine

import (
	"encoding/json"
	"errors"
	"io"
)

// maxObject is the largest size of one JSON object of a stream, in bytes.
const maxObject = 1 << 20

var errTooLong = errors.New("object is too long")

// eachObject decodes the JSON objects of a stream and calls fn with each. It returns nil at the end of the stream, else the
// error of the stream or of fn.
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

// bounded reads at most left bytes of r.
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
