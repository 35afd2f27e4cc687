// Package redsocks reads, checks and changes the proxy settings of the host in redsocks.conf. It is a leaf and pure.
package redsocks

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Proxy is the proxy that all TCP traffic of the device goes through (docs/spec/device-api.md 2.15).
type Proxy struct {
	Type     string // one of Types
	IP       string // IPv4 address or host name
	Port     int
	Login    string // empty for none
	Password string // empty for none
	DNS      string // ADDRESS:PORT of a DNS server that is asked through the proxy, empty for none
}

// Types are the types of proxy that redsocks supports.
var Types = [...]string{"socks4", "socks5", "http-connect", "http-relay"}

// DefaultDNS is the DNS server for queries through the proxy when the user names none.
const DefaultDNS = "8.8.8.8:53"

// Change is a change of the settings. A nil field keeps the setting, an empty one clears it.
type Change struct {
	Clear                          bool // remove proxy and NoProxy, and ignore the other fields
	Type, IP, Login, Password, DNS *string
	Port                           *int
	NoProxy                        *[]string // addresses and subnets that are reached directly
}

// IsEmpty reports whether c changes nothing.
func (c Change) IsEmpty() bool {
	return !c.Clear && c.NoProxy == nil && c.DNS == nil && !c.changesProxy()
}

// changesProxy reports whether c has a field of the proxy itself.
func (c Change) changesProxy() bool {
	return c.Type != nil || c.IP != nil || c.Port != nil || c.Login != nil || c.Password != nil
}

// Refused is the error of an invalid value. It names the value and the reason.
type Refused string

// Error returns the message for API clients.
func (r Refused) Error() string { return string(r) }

// ErrIncomplete refuses a proxy that lacks a required value.
const ErrIncomplete Refused = "a proxy needs type, ip and port"

// Apply applies c to the present proxy, nil for none, and returns the new proxy, nil for none. changed is false if
// redsocks.conf can stay as it is. The error is a Refused. Apply also checks NoProxy.
func (c Change) Apply(present *Proxy) (result *Proxy, changed bool, err error) {
	if c.Clear {
		return nil, true, nil
	}
	if c.NoProxy != nil {
		for _, entry := range *c.NoProxy {
			if err := checkEntry(entry); err != nil {
				return present, false, err
			}
		}
	}
	if !c.changesProxy() && (c.DNS == nil || present == nil) { // DNS has no effect without a proxy
		return present, false, nil
	}
	p := Proxy{}
	if present != nil {
		p = *present
	}
	for _, field := range [...]struct {
		to   *string
		from *string
	}{{&p.Type, c.Type}, {&p.IP, c.IP}, {&p.Login, c.Login}, {&p.Password, c.Password}, {&p.DNS, c.DNS}} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	if c.Port != nil {
		p.Port = *c.Port
	}
	if c.Login != nil {
		p.Login = trimQuotes(p.Login)
	}
	if c.Password != nil {
		p.Password = trimQuotes(p.Password)
	}
	if p.Type == "" || p.IP == "" || p.Port == 0 {
		return present, false, ErrIncomplete
	}
	if err := c.check(p); err != nil {
		return present, false, err
	}
	return &p, true, nil
}

// check validates the values of the change. It accepts all values that the file already had.
func (c Change) check(p Proxy) error {
	switch {
	case c.Type != nil && !isType(p.Type):
		return Refused("type is none of " + strings.Join(Types[:], ", "))
	case c.IP != nil && !isHost(p.IP):
		return Refused("ip is neither an IPv4 address nor a host name")
	case c.Port != nil && !isPort(p.Port):
		return Refused("port is not between 1 and 65535")
	case c.DNS != nil && p.DNS != "" && !IsDNS(p.DNS):
		return Refused("dns is not ADDRESS:PORT")
	}
	if c.Login != nil && !isText(p.Login) || c.Password != nil && !isText(p.Password) {
		return Refused("login or password is a text that redsocks.conf cannot carry")
	}
	if p.Type == "socks5" && max(len(p.Login), len(p.Password)) > 255 {
		return Refused("login and password of a socks5 proxy have at most 255 bytes")
	}
	return nil
}

// trimQuotes removes the quotes around a login or password, which clients copy from redsocks.conf
// (docs/spec/host.md 8). It keeps a quote at only one end if the text has another quote.
func trimQuotes(s string) string {
	const mark = `"`
	first, last := strings.HasPrefix(s, mark), strings.HasSuffix(s, mark)
	if len(s) > 1 && (first && last || (first || last) && strings.Count(s, mark) == 1) {
		return strings.TrimSuffix(strings.TrimPrefix(s, mark), mark)
	}
	return s
}

func isType(s string) bool {
	for _, t := range Types {
		if s == t {
			return true
		}
	}
	return false
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }

// IsDNS reports whether s is ADDRESS:PORT.
func IsDNS(s string) bool {
	host, port, _ := strings.Cut(s, ":")
	return isHost(host) && isPort(number(port))
}

// number parses a decimal number. It returns -1 for other text, for large numbers, and for a leading zero, which
// redsocks would read as octal.
func number(s string) int {
	if s == "" || len(s) > 9 || len(s) > 1 && s[0] == '0' || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	n, _ := strconv.Atoi(s)
	return n
}

// isText reports whether redsocks.conf can hold s: it has no control characters and is not a mark of redsocks.
func isText(s string) bool {
	for _, c := range s {
		if unicode.IsControl(c) || c == utf8.RuneError {
			return false
		}
	}
	return !isMark(s)
}

// isHost reports whether s is an IPv4 address or a host name. An invalid address such as 10.1 or 300.1.1.1 is not a
// name.
func isHost(s string) bool {
	labels := strings.Split(s, ".")
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return isIPv4(labels)
	}
	for _, label := range labels {
		if !isLabel(label) {
			return false
		}
	}
	return len(s) <= 253
}

func isIPv4(labels []string) bool {
	for _, label := range labels {
		if n := number(label); n < 0 || n > 255 {
			return false
		}
	}
	return len(labels) == 4
}

// isLabel reports whether s is a label of a DNS name. Unlike host names, DNS names may have underscores.
func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-'
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// checkEntry accepts what the host's firewall accepts as a destination: an IPv4 address, a host name, or a subnet as
// ADDRESS/BITS or ADDRESS/MASK.
func checkEntry(s string) error {
	host, mask, subnet := strings.Cut(s, "/")
	bits := number(mask)
	switch labels := strings.Split(host, "."); {
	case subnet && isIPv4(labels) && (bits >= 0 && bits <= 32 || isIPv4(strings.Split(mask, "."))):
		return nil
	case !subnet && isHost(host):
		return nil
	}
	return Refused("noProxy: " + strconv.Quote(s) + " is neither an IPv4 address nor a subnet")
}
