package compose

import "strings"

// operators are the shell operators. Each ends a word and is a word of its own. Longer ones come first.
var operators = [...]string{
	"<<<", "||", "&&", ";;", "|&", "<(", ">>", ">&", "<&", "&", ";", "(", ")", "|", "<", ">",
}

// splitWords splits a command line as a shell would, but expands nothing: $ and globs stay as they are, operators become
// literal words (docs/spec/engine.md 2.4). A quote that is not closed ends with the line.
func splitWords(line string) []string {
	w := wordSplitter{line: line}
	for w.line != "" {
		w.next()
	}
	w.end()
	return w.words
}

type wordSplitter struct {
	line  string // what is left
	words []string
	word  strings.Builder
	open  bool // a word has begun, perhaps an empty quoted one
}

func (w *wordSplitter) next() {
	switch c := w.line[0]; c {
	case ' ', '\t', '\n', '\r':
		w.end()
		w.line = w.line[1:]
	case '\'', '"':
		w.quoted(c)
	case '\\':
		if w.line = w.line[1:]; w.line != "" {
			w.add(1)
		}
	default:
		w.plain()
	}
}

// plain reads one operator or one other byte.
func (w *wordSplitter) plain() {
	for _, op := range operators {
		if strings.HasPrefix(w.line, op) {
			w.end()
			w.add(len(op))
			w.end()
			return
		}
	}
	w.add(1)
}

// quoted reads up to the closing quote. In double quotes a backslash escapes a quote, a dollar or another backslash.
func (w *wordSplitter) quoted(quote byte) {
	w.open = true
	w.line = w.line[1:]
	for w.line != "" {
		switch {
		case w.line[0] == quote:
			w.line = w.line[1:]
			return
		case quote == '"' && len(w.line) > 1 && w.line[0] == '\\' && strings.IndexByte("\"$\\", w.line[1]) >= 0:
			w.line = w.line[1:]
		}
		w.add(1)
	}
}

func (w *wordSplitter) add(n int) {
	w.word.WriteString(w.line[:n])
	w.line = w.line[n:]
	w.open = true
}

func (w *wordSplitter) end() {
	if w.open {
		w.words = append(w.words, w.word.String())
	}
	w.word.Reset()
	w.open = false
}
