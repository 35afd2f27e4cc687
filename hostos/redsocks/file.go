package redsocks

import (
	"strconv"
	"strings"
)

// What the host expects beside the settings: where its firewall sends traffic and DNS questions.
const (
	base      = "log_debug = off;\n\tlog_info = on;\n\tlog = stderr;\n\tdaemon = off;\n\tredirector = iptables;\n"
	localIP   = "127.0.0.1"
	localPort = "12345"
	localDNS  = "53"
)

// File is redsocks.conf for the proxy.
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

// word is a value that stands without quotes where redsocks reads it as one word: a number or an
// address, or a name that starts with a letter.
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

// escapes are the characters that redsocks knows after a backslash, and what each stands for.
const (
	escapes = `ntr\'"`
	escaped = "\n\t\r\\'\""
)

// quote writes the escapes that redsocks knows.
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

// Parse reads redsocks.conf as redsocks does. It returns nil when redsocks could not use the file,
// or when it sets up no proxy.
func Parse(text string) *Proxy {
	sections, ok := parse(text)
	s := sections["redsocks"]
	if !ok || s == nil {
		return nil
	}
	p := &Proxy{Type: s["type"], IP: s["ip"], Port: number(s["port"]), Login: s["login"], Password: s["password"]}
	if !isType(p.Type) || !isHost(p.IP) || !isPort(p.Port) {
		return nil
	}
	if dns := sections["dnsu2t"]; dns != nil {
		if s := dns["remote_ip"] + ":" + dns["remote_port"]; IsDNS(s) {
			p.DNS = s
		}
	}
	return p
}

// parse reads sections of assignments. Of a section or key that is there twice the last one counts.
func parse(text string) (map[string]map[string]string, bool) {
	sections := map[string]map[string]string{}
	t := tokens{text: text}
	for {
		name, _, ok := t.next()
		if !ok {
			return nil, false
		}
		if name == "" {
			return sections, true
		}
		section := map[string]string{}
		if isMark(name) || !t.expect("{") || !t.assignments(section) {
			return nil, false
		}
		sections[name] = section
	}
}

// assignments reads up to the end of a section.
func (t *tokens) assignments(into map[string]string) bool {
	for {
		key, quoted, ok := t.next()
		if key == "}" && !quoted {
			return true
		}
		if !ok || key == "" || isMark(key) || !t.expect("=") {
			return false
		}
		value, quoted, ok := t.next()
		if !ok || !quoted && (value == "" || isMark(value)) || !t.expect(";") {
			return false
		}
		into[key] = value
	}
}

// expect reads one mark.
func (t *tokens) expect(mark string) bool {
	read, quoted, ok := t.next()
	return ok && !quoted && read == mark
}

// tokens splits a file into words, quoted texts and the marks { } = ; as redsocks does.
type tokens struct{ text string }

// next is the next token, empty and unquoted at the end; ok is false for what redsocks refuses.
func (t *tokens) next() (token string, quoted, ok bool) {
	if !t.skip() {
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
		return t.take("0123456789./"), false, true
	case isLetter(c):
		return t.take(letters + "0123456789_.-"), false, true
	}
	return "", false, false
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// take reads the characters of a word. A comment ends one.
func (t *tokens) take(of string) string {
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

// isMark tells whether redsocks takes a token for one of its own, also between quotes.
func isMark(s string) bool {
	switch s {
	case "{", "}", "=", ";", "//", "/*":
		return true
	}
	return false
}

// skip passes over blanks and comments; a comment that does not end is refused.
func (t *tokens) skip() bool {
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

// quoted reads a text in double quotes.
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

// NoProxyFile is the file no_proxy for the given addresses, one a line.
func NoProxyFile(entries []string) string {
	return strings.Join(entries, "\n") + "\n"
}

// ParseNoProxy lists what is not empty of the file no_proxy.
func ParseNoProxy(text string) (entries []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			entries = append(entries, line)
		}
	}
	return entries
}
