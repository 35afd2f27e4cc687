package client

import (
	"fmt"
	"strings"
	"time"
)

// plain makes s printable ASCII, so each character takes one column on any console. Line feeds and tabs become spaces,
// all other characters question marks.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}

// clip cuts s to n characters, and ends it with dots if something is missing.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}

// pad makes s exactly n characters wide, with at least one space at the end.
func pad(s string, n int) string {
	s = clip(plain(s), n-1)
	return s + strings.Repeat(" ", n-len([]rune(s)))
}

// wrap breaks s into lines of at most n characters, between words where it can.
func wrap(s string, n int) []string {
	var lines []string
	var line []rune
	for _, word := range strings.Fields(s) {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > n {
			lines = append(lines, string(line))
			line = nil
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for line = append(line, w...); len(line) > n; line = line[n:] {
			lines = append(lines, string(line[:n]))
		}
	}
	if len(line) > 0 {
		lines = append(lines, string(line))
	}
	return lines
}

// span shows a duration in its two largest units: 2h 5m, 40s.
func span(d time.Duration) string {
	switch s := int(d.Round(time.Second).Seconds()); {
	case s >= 24*3600:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	default:
		return fmt.Sprintf("%ds", max(s, 1))
	}
}

// short is the beginning of a commit.
func short(commit string) string {
	if r := []rune(commit); len(r) > 12 {
		return string(r[:12])
	}
	return commit
}
