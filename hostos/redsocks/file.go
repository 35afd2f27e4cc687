package redsocks

import (
	"strconv"
	"strings"
)

// Fixed settings that the host expects: its firewall redirects traffic and DNS queries to these addresses.
const (
	base      = "log_debug = off;\n\tlog_info = on;\n\tlog = stderr;\n\tdaemon = off;\n\tredirector = iptables;\n"
	localIP   = "127.0.0.1"
	localPort = "12345"
	localDNS  = "53"
)

// File returns the text of redsocks.conf for the proxy.
func (p Proxy) File() string {
	var f strings.Builder
	f.WriteString("base {\n\t" + base + "}\n\nredsocks {\n")
	assign(&f, "type", p.Type)
	assign(&f, "ip", word(p.IP))
	assign(&f, "port", strconv.Itoa(p.Port))
	if p.Login != "" {
		assign(&f, "login", quote(p.Login))
	}
	if p.Password != "" {
		assign(&f, "password", quote(p.Password))
	}
	assign(&f, "local_ip", localIP)
	assign(&f, "local_port", localPort)
	f.WriteString("}\n")
	if p.DNS != "" {
		host, port, _ := strings.Cut(p.DNS, ":")
		f.WriteString("\ndnsu2t {\n")
		assign(&f, "remote_ip", word(host))
		assign(&f, "remote_port", port)
		assign(&f, "local_ip", localIP)
		assign(&f, "local_port", localDNS)
		f.WriteString("}\n")
	}
	return f.String()
}

func assign(f *strings.Builder, key, value string) {
	f.WriteString("\t" + key + " = " + value + ";\n")
}

// word returns a value without quotes if redsocks reads it as one word: a number, an address, or a name that starts
// with a letter. Other values are quoted.
func word(s string) string {
	if isWord(s) {
		return s
	}
	return quote(s)
}

func isWord(s string) bool {
	t := tokens{text: s + ";"}
	read, quoted, ok := t.next()
	return ok && !quoted && read == s
}

// escapes are the characters that redsocks accepts after a backslash; escaped are their meanings.
const (
	escapes = `ntr\'"`
	escaped = "\n\t\r\\'\""
)

// quote returns a text in double quotes with escapes.
func quote(s string) string {
	out := []byte{'"'}
	for i := range len(s) {
		c := s[i]
		if at := strings.IndexByte(escaped, c); at >= 0 && c != '\'' {
			out = append(out, '\\')
			c = escapes[at]
		}
		out = append(out, c)
	}
	return string(append(out, '"'))
}

// Parse parses redsocks.conf as redsocks does. It skips lines with errors, such as a missing semicolon, and then returns
// sound as false: redsocks would refuse the file (docs/spec/host.md 8). The proxy is nil if the file has none, or if
// its login or password cannot be parsed.
func Parse(text string) (p *Proxy, sound bool) {
	sections := map[string]map[string]string{}
	t := tokens{text: text}
	t.sections(sections)
	s := sections["redsocks"]
	p = &Proxy{Type: s["type"], IP: s["ip"], Port: number(s["port"]), Login: s["login"], Password: s["password"]}
	if t.lostLogin || !isType(p.Type) || !isHost(p.IP) || !isPort(p.Port) {
		return nil, false
	}
	if dns := sections["dnsu2t"]; dns != nil {
		if s := dns["remote_ip"] + ":" + dns["remote_port"]; IsDNS(s) {
			p.DNS = s
		}
	}
	return p, !t.unsound
}

// sections parses sections of assignments. If a section or key occurs twice, the last one counts.
func (t *tokens) sections(into map[string]map[string]string) {
	for {
		from := t.text
		name, quoted, ok := t.next()
		if ok && name == "" && !quoted {
			return
		}
		if !ok || name == "" || isMark(name) || !t.expect("{") {
			t.skipLine(from, name)
			continue
		}
		into[name] = map[string]string{}
		t.assignments(into[name])
	}
}

// assignments parses assignments up to the end of a section.
func (t *tokens) assignments(into map[string]string) {
	for {
		from := t.text
		key, quoted, ok := t.next()
		if ok && key == "}" && !quoted {
			return
		}
		if ok && key == "" && !quoted {
			t.unsound = true // the section has no end
			return
		}
		value, read := "", false
		if ok && key != "" && !isMark(key) && t.expect("=") {
			value, quoted, ok = t.next()
			read = ok && (quoted || value != "" && !isMark(value))
		}
		rest := t.text
		switch {
		case read && t.expect(";"):
			into[key] = value
		case read && endsLine(rest):
			into[key], t.text, t.unsound = value, rest, true
		default:
			t.skipLine(from, key)
		}
	}
}

// endsLine reports whether the rest of the line or section is empty.
func endsLine(rest string) bool {
	rest = strings.TrimLeft(rest, " \t\r")
	return rest == "" || rest[0] == '\n' || rest[0] == '}'
}

// skipLine skips a line that redsocks would refuse. from is the text from the start of the line. It stops at the end of
// the section.
func (t *tokens) skipLine(from, key string) {
	t.unsound = true
	t.lostLogin = t.lostLogin || key == "login" || key == "password"
	t.text = from
	rest := "" // if a comment does not end
	if t.skipSpace() && t.text != "" {
		if at := strings.IndexAny(t.text[1:], "\n}"); at >= 0 {
			rest = t.text[1+at:]
		}
	}
	t.text = rest
}

// expect reads a token and reports whether it is the mark.
func (t *tokens) expect(mark string) bool {
	read, quoted, ok := t.next()
	return ok && !quoted && read == mark
}

// tokens splits a file into words, quoted texts and the marks { } = ; like redsocks.
type tokens struct {
	text      string
	unsound   bool // redsocks would refuse the text so far
	lostLogin bool // a login or password could not be parsed
}

// next returns the next token, empty and unquoted at the end. ok is false if redsocks would refuse it.
func (t *tokens) next() (token string, quoted, ok bool) {
	if !t.skipSpace() {
		return "", false, false
	}
	if t.text == "" {
		return "", false, true
	}
	switch c := t.text[0]; {
	case c == '"':
		token, ok = t.quoted()
		return token, true, ok && !isMark(token)
	case strings.IndexByte("{}=;", c) >= 0:
		t.text = t.text[1:]
		return string(c), false, true
	case isDigit(c):
		return t.readWord("0123456789./"), false, true
	case isLetter(c):
		return t.readWord(letters + "0123456789_.-"), false, true
	}
	return "", false, false
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// readWord reads a word of the given characters. A comment also ends a word.
func (t *tokens) readWord(of string) string {
	n := 0
	for n < len(t.text) && strings.IndexByte(of, t.text[n]) >= 0 {
		if rest := t.text[n:]; strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "/*") {
			break
		}
		n++
	}
	token := t.text[:n]
	t.text = t.text[n:]
	return token
}

// isMark reports whether redsocks treats a token as syntax, even if it is quoted.
func isMark(s string) bool {
	switch s {
	case "{", "}", "=", ";", "//", "/*":
		return true
	}
	return false
}

// skipSpace skips blanks and comments. It returns false if a comment does not end.
func (t *tokens) skipSpace() bool {
	for {
		t.text = strings.TrimLeft(t.text, " \t\n\v\f\r")
		end := ""
		switch {
		case strings.HasPrefix(t.text, "//"):
			end = "\n"
		case strings.HasPrefix(t.text, "/*"):
			end = "*/"
		default:
			return true
		}
		at := strings.Index(t.text[2:], end)
		if at < 0 {
			return false
		}
		t.text = t.text[2+at+len(end):]
	}
}

// quoted parses a text in double quotes.
func (t *tokens) quoted() (string, bool) {
	var out strings.Builder
	for i := 1; i < len(t.text); i++ {
		switch c := t.text[i]; c {
		case '"':
			t.text = t.text[i+1:]
			return out.String(), true
		case 0:
			return "", false
		case '\\':
			i++
			if i == len(t.text) {
				return "", false
			}
			at := strings.IndexByte(escapes, t.text[i])
			if at < 0 {
				return "", false
			}
			out.WriteByte(escaped[at])
		default:
			out.WriteByte(c)
		}
	}
	return "", false
}

// NoProxyFile returns the text of the file no_proxy, with one address per line.
func NoProxyFile(entries []string) string {
	return strings.Join(entries, "\n") + "\n"
}

// ParseNoProxy returns the non-empty lines of the file no_proxy.
func ParseNoProxy(text string) (entries []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			entries = append(entries, line)
		}
	}
	return entries
}
