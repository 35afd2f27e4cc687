package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// module is the import path of the product.
const module = "resin-supervisor"

// armv6 is the environment of the build that budgets and the import list are about: the smallest
// board, and the flags that the product is built with.
var armv6 = []string{"GOOS=linux", "GOARCH=arm", "GOARM=6", "CGO_ENABLED=0", "GOFLAGS=" + os.Getenv("PRODUCT_GOFLAGS")}

// Tree is the source tree in the working directory. What was asked once is kept.
type Tree struct {
	files    []string
	packages []Package
}

// Package is what `go list` says of one package.
type Package struct {
	ImportPath string
	Imports    []string
	Dir        string
	GoFiles    []string
}

// Files lists the files that belong to the project: those git tracks or would track. Outside a git
// checkout it is every file, less dist.
func (t *Tree) Files() ([]string, error) {
	if t.files != nil {
		return t.files, nil
	}
	out, err := command(nil, "git", "ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.files, err = walk()
		return t.files, err
	}
	for _, name := range strings.Fields(out) {
		if _, err := os.Lstat(name); err == nil {
			t.files = append(t.files, name)
		}
	}
	return t.files, nil
}

func walk() (files []string, err error) {
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "dist"):
			return filepath.SkipDir
		case !d.IsDir():
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

// GoFiles lists the Go files of the project.
func (t *Tree) GoFiles() ([]string, error) {
	all, err := t.Files()
	var files []string
	for _, name := range all {
		if strings.HasSuffix(name, ".go") && !strings.Contains(name, "testdata/") {
			files = append(files, name)
		}
	}
	return files, err
}

// Packages lists the packages of the product's module as built for ARMv6.
func (t *Tree) Packages() ([]Package, error) {
	if t.packages != nil {
		return t.packages, nil
	}
	out, err := command(armv6, "go", "list", "-json=ImportPath,Imports,Dir,GoFiles", "./...")
	if err != nil {
		return nil, err
	}
	t.packages, err = decodePackages(strings.NewReader(out))
	return t.packages, err
}

func decodePackages(r io.Reader) ([]Package, error) {
	var list []Package
	for d := json.NewDecoder(r); ; {
		var p Package
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		list = append(list, p)
	}
}

// command runs a program with extra environment and returns its standard output; when it fails, the
// error holds what it wrote to standard error.
func command(env []string, name string, args ...string) (string, error) {
	return commandIn(".", env, name, args...)
}

func commandIn(dir string, env []string, name string, args ...string) (string, error) {
	var out, errs bytes.Buffer
	c := exec.Command(name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}
