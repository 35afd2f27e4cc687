// Package version knows which release of resin-supervisor this program is.
package version

import "strings"

// base is the release that a build without a tag counts as. The cloud switches features on from
// 17.8.0 (docs/spec/cloud.md 4.3), so it must not be lower.
const base = "20.0.0"

// stamp is what the linker writes: the output of git describe, or the VERSION given to make.
// It is written by the linker only, never by the program.
var stamp string

// String is the version as semver, without a leading v: "20.0.0", "20.0.0+3.abc1234" for the third
// commit after the tag, "20.0.0-dev" for a build that nobody stamped. The cloud keeps 20 characters
// of it, so the forms made here are no longer than that for the usual tags.
func String() string { return fromDescribe(stamp) }

// With is String with more build metadata behind it, such as the variable SUPERVISOR_TAG_EXTRA holds;
// characters that semver does not allow there become dashes (docs/spec/device-api.md 2.22).
func With(extra string) string {
	s := String()
	switch {
	case extra == "":
		return s
	case strings.Contains(s, "+"):
		return s + "." + clean(extra)
	}
	return s + "+" + clean(extra)
}

// fromDescribe turns the output of `git describe --tags --always --dirty --abbrev=7` into semver.
// A version is passed through as it is. What is added stands behind a plus sign: a build between
// two releases orders as the release it came from.
func fromDescribe(s string) string {
	if s == "" {
		return base + "-dev"
	}
	s, dirty := strings.CutSuffix(s, "-dirty")
	release, count, commit := split(s)
	if !isVersion(release) {
		return base + "+" + clean(s) + mark(dirty)
	}
	release = strings.TrimPrefix(release, "v")
	if commit == "" && !dirty {
		return release
	}
	plus := "+"
	if strings.Contains(release, "+") {
		plus = "."
	}
	switch {
	case commit == "":
		return release + plus + "dirty"
	case dirty: // the count gives way to the mark: both do not fit into 20 characters
		return release + plus + commit + ".dirty"
	}
	return release + plus + count + "." + commit
}

func mark(dirty bool) string {
	if dirty {
		return ".dirty"
	}
	return ""
}

// split takes v1.2.3-4-gabcdef0 apart into v1.2.3, 4 and abcdef0. Without that ending the whole of s
// is the release.
func split(s string) (release, count, commit string) {
	i := strings.LastIndex(s, "-g")
	if i < 0 {
		return s, "", ""
	}
	j := strings.LastIndexByte(s[:i], '-')
	if j < 0 || !digits(s[j+1:i]) || !hex(s[i+2:]) {
		return s, "", ""
	}
	return s[:j], s[j+1 : i], s[i+2:]
}

// isVersion reports whether s is semver, with or without a leading v.
func isVersion(s string) bool {
	s, build, hasBuild := strings.Cut(strings.TrimPrefix(s, "v"), "+")
	core, pre, hasPre := strings.Cut(s, "-")
	numbers := strings.Split(core, ".")
	if len(numbers) != 3 {
		return false
	}
	for _, n := range numbers {
		if !digits(n) || leadingZero(n) {
			return false
		}
	}
	return (!hasPre || identifiers(pre, false)) && (!hasBuild || identifiers(build, true))
}

// identifiers checks the dotted words of a pre-release or of build metadata; only the latter may
// hold numbers with leading zeros.
func identifiers(s string, zeros bool) bool {
	for _, word := range strings.Split(s, ".") {
		if word == "" || clean(word) != word || !zeros && digits(word) && leadingZero(word) {
			return false
		}
	}
	return true
}

func leadingZero(n string) bool { return len(n) > 1 && n[0] == '0' }

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func hex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdef") == "" }

// clean keeps the characters that semver allows in build metadata and replaces all others by a
// hyphen.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r == '-':
			return r
		}
		return '-'
	}, s)
}
