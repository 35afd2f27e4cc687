package target

import (
	"fmt"
	"strings"
)

// Reference is a parsed image name (docs/spec/engine.md 8.1). Registry, Tag and Digest may be empty.
type Reference struct {
	Registry string
	Repo     string
	Tag      string
	Digest   string // alg:hex
}

// ParseReference parses an image name: optional registry, repository, optional :tag, optional @digest. The part before
// the first slash is the registry when it is localhost or has a dot or colon.
func ParseReference(s string) (Reference, error) {
	var r Reference
	rest, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest && !isDigest(digest) {
		return Reference{}, fmt.Errorf("image name %.300q: bad digest", s)
	}
	r.Digest = digest
	if first, path, ok := strings.Cut(rest, "/"); ok && isRegistry(first) {
		r.Registry, rest = first, path
	}
	repo, tag, hasTag := strings.Cut(rest, ":")
	if hasTag && !isTag(tag) {
		return Reference{}, fmt.Errorf("image name %.300q: bad tag", s)
	}
	r.Repo, r.Tag = repo, tag
	if !isRepo(repo) || !allOf(r.Registry, isRegistryByte) {
		return Reference{}, fmt.Errorf("image name %.300q: bad repository", s)
	}
	return r, nil
}

// Name is registry/repo, without tag and digest.
func (r Reference) Name() string {
	if r.Registry == "" {
		return r.Repo
	}
	return r.Registry + "/" + r.Repo
}

// String is the normalised name: name@digest if there is a digest, else name:tag with the default tag latest.
func (r Reference) String() string {
	switch {
	case r.Digest != "":
		return r.Name() + "@" + r.Digest
	case r.Tag != "":
		return r.Name() + ":" + r.Tag
	}
	return r.Name() + ":latest"
}

// Normalise is the one form in which image names are stored and compared (docs/spec/engine.md 8.1).
func Normalise(s string) (string, error) {
	r, err := ParseReference(s)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

func isRegistry(first string) bool {
	return first == "localhost" || strings.ContainsAny(first, ".:")
}

// isDigest accepts alg:hex with at least 32 hex digits.
func isDigest(s string) bool {
	alg, hex, _ := strings.Cut(s, ":")
	return alg != "" && allOf(alg, isDigestAlgByte) && len(hex) >= 32 && allOf(hex, isHexByte)
}

func isTag(s string) bool {
	return s != "" && len(s) <= 128 && s[0] != '.' && s[0] != '-' && allOf(s, isNameByte)
}

// isRepo accepts components of name characters, separated by single slashes.
func isRepo(s string) bool {
	for component := range strings.SplitSeq(s, "/") {
		if component == "" || !allOf(component, isNameByte) || !isAlnum(component[0]) {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9'
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isNameByte(c byte) bool { return isAlnum(c) || c == '.' || c == '_' || c == '-' }

func isRegistryByte(c byte) bool { return isNameByte(c) || c == ':' || c == '[' || c == ']' }

func isDigestAlgByte(c byte) bool { return isNameByte(c) || c == '+' }

func isHexByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// allOf reports whether every byte passes. An empty text passes.
func allOf(s string, pass func(byte) bool) bool {
	for i := range len(s) {
		if !pass(s[i]) {
			return false
		}
	}
	return true
}
