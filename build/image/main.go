// Command image packs static programs into a container image, without an engine: a tar file that is
// an OCI layout and a docker-save archive at once, so that `docker load`, `podman load` and image
// builders take it. The same input gives the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var s Spec
	var platform, out, health string
	var created int64
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.StringVar(&out, "o", "", "file to write")
	f.StringVar(&s.Tag, "tag", "", "name and tag of the image, name:tag")
	f.StringVar(&platform, "platform", "amd64", "architecture, with variant where it has one: arm/v6")
	f.StringVar(&health, "healthcheck", "", "health check command, words parted by spaces")
	f.StringVar(&s.Version, "version", "", "version label of the image")
	f.Int64Var(&created, "created", 0, "time of the image and its files, in seconds since 1970")
	if err := f.Parse(args); err != nil {
		return err
	}
	if out == "" || s.Tag == "" || f.NArg() == 0 {
		return fmt.Errorf("usage: image -o FILE -tag NAME:TAG [options] PROGRAM [FILE ...]; the first is what the image runs")
	}
	s.Architecture, s.Variant, _ = strings.Cut(platform, "/")
	s.Health = strings.Fields(health)
	s.Created = time.Unix(created, 0).UTC()
	for _, name := range f.Args() {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, File{Name: target(name), Data: data})
	}
	b, err := s.Archive()
	if err != nil {
		return fmt.Errorf("pack %s: %w", s.Tag, err)
	}
	return os.WriteFile(out, b, 0o644)
}

// target is the name of a program inside the image: dist/resin-supervisor-linux-armv6 becomes
// resin-supervisor, so that an image is used alike on every board.
func target(name string) string {
	base, _, _ := strings.Cut(filepath.Base(name), "-linux-")
	return base
}
