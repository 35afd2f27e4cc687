package boot

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"

	"resin-supervisor/hostos/file"
)

// splash is the image that the device shows while it starts (docs/spec/cloud.md 6.9). The agent copies the system's image
// before it replaces it for the first time. On a board without an image the variable has no effect.
type splash struct{ dir string }

const (
	splashKey     = "image"
	splashDefault = "balena-logo-default.png"
)

func (*splash) canonicalKey(key string) string {
	if strings.EqualFold(key, splashKey) {
		return splashKey
	}
	return ""
}

// path is the path of the image, empty when there is none.
func (s *splash) path() string {
	for _, name := range [...]string{"balena-logo.png", "resin-logo.png"} {
		if path := s.dir + "/" + name; exists(path) {
			return path
		}
	}
	return ""
}

// images returns the image that is shown and the system's own. They are the same until the system's is copied.
func (s *splash) images() (shown, own []byte, err error) {
	path := s.path()
	if path == "" {
		return nil, nil, nil
	}
	if shown, err = file.Read(path, file.Large); err != nil {
		return nil, nil, err // names operation and path
	}
	own, err = file.Read(s.dir+"/"+splashDefault, file.Large)
	if errors.Is(err, fs.ErrNotExist) {
		return shown, shown, nil
	}
	return shown, own, err
}

func (s *splash) read() (values, error) {
	shown, own, err := s.images()
	if err != nil || bytes.Equal(shown, own) {
		return nil, err
	}
	return values{splashKey: "data:image/png;base64," + base64.StdEncoding.EncodeToString(shown)}, nil
}

func (s *splash) change(want values) (c change, err error) {
	shown, own, err := s.images()
	if err != nil || shown == nil {
		return c, err
	}
	image := own
	if text := strings.TrimSpace(want[splashKey]); text != "" {
		if image = decodeImage(text); image == nil {
			c.refused = map[string]error{splashKey: errNoImage}
			return c, nil
		}
	}
	if bytes.Equal(image, shown) {
		return c, nil
	}
	c.write, c.reboot = func() error {
		file.Sweep(s.dir) // removes leftovers of a crash
		if _, err := file.WriteIfChanged(s.dir+"/"+splashDefault, own, 0o644); err != nil {
			return err
		}
		_, err := file.WriteIfChanged(s.path(), image, 0o644)
		return err
	}, true
	return c, nil
}

var errNoImage = errors.New("not a PNG image in base64")

// decodeImage decodes a PNG image in base64 or in a data: URL, of which it ignores the parameters of the media type. It
// returns nil for any other text.
func decodeImage(text string) []byte {
	if of, body, found := strings.Cut(text, ","); found {
		of = strings.ToLower(of)
		if head(of, ";") != "data:image/png" || !strings.HasSuffix(of, ";base64") {
			return nil
		}
		text = body
	}
	image, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || !isPNG(image) {
		return nil
	}
	return image
}

// isPNG checks the signature, and the header that follows it with the size.
func isPNG(image []byte) bool {
	const start = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	if len(image) < len(start)+17 || string(image[:len(start)]) != start {
		return false
	}
	width, height := binary.BigEndian.Uint32(image[16:]), binary.BigEndian.Uint32(image[20:])
	return width > 0 && height > 0
}
