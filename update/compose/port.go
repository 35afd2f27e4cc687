package compose

import (
	"errors"
	"sort"
	"strconv"
	"strings"

	"resin-supervisor/update/engine/doc"
)

// maxPorts limits the port bindings of one service.
const maxPorts = 65536

// portRange is one ports entry: container ports first to first+n, host ports host to host+n.
type portRange struct {
	first, host, n int // n is the number of ports less one
	proto, ip      string
}

// readPorts reads ports, short and long form, into the engine's bindings. A bad entry rejects the
// app (docs/spec/engine.md D13).
func readPorts(sec *section) map[string][]doc.PortBinding {
	var items []any
	switch v := sec.take("ports").(type) {
	case nil:
	case []any:
		items = v
	default:
		items = []any{v}
	}
	bindings, total := map[string][]doc.PortBinding{}, 0
	for _, item := range items {
		if item == nil {
			continue
		}
		text, err := portText(sec, item)
		var ports portRange
		if err == nil {
			ports, err = parsePort(text)
		}
		if total += ports.n + 1; err == nil && total > maxPorts {
			err = errors.New("more than " + strconv.Itoa(maxPorts) + " ports")
		}
		if err != nil {
			sec.fail("ports: " + err.Error())
			return nil
		}
		ports.expand(bindings)
	}
	return bindings
}

func (p portRange) expand(into map[string][]doc.PortBinding) {
	for i := 0; i <= p.n; i++ {
		key := strconv.Itoa(p.first+i) + "/" + p.proto
		into[key] = append(into[key], doc.PortBinding{HostIp: p.ip, HostPort: strconv.Itoa(p.host + i)})
	}
}

// portText turns a ports entry into the short form.
func portText(sec *section, item any) (string, error) {
	if text, ok := scalar(item); ok {
		return text, nil
	}
	m, ok := item.(map[string]any)
	if !ok {
		return "", errors.New("an entry is neither a text nor a mapping")
	}
	long := newSection("ports.", m, sec.notes)
	text := long.text("target", "")
	if text == "" {
		return "", errors.New("an entry has no target")
	}
	text = long.text("published", text) + ":" + text
	if ip := long.text("host_ip", ""); ip != "" {
		text = ip + ":" + text
	}
	text += "/" + long.text("protocol", "tcp")
	for _, key := range [...]string{"mode", "name", "app_protocol"} {
		long.take(key) // these have no meaning on one device
	}
	long.finish()
	return text, nil
}

// parsePort reads [host:][ext[-extEnd]:]int[-intEnd][/tcp|udp|sctp] (docs/spec/engine.md 2.4). The host
// port defaults to the container port.
func parsePort(s string) (portRange, error) {
	bad := func(why string) (portRange, error) {
		return portRange{}, errors.New(strconv.Quote(s) + " " + why)
	}
	numbers, proto, found := strings.Cut(strings.TrimSpace(s), "/")
	if proto = strings.ToLower(proto); !found {
		proto = "tcp"
	}
	if proto != "tcp" && proto != "udp" && proto != "sctp" {
		return bad("has an unknown protocol")
	}
	left, inner := cutLast(numbers)
	first, last, ok := parsePortRange(inner)
	if !ok || first == 0 {
		return bad("has no valid container port")
	}
	ip, outer := cutLast(left)
	host, hostLast, ok := parsePortRange(outer)
	switch {
	case left == "":
		ip, host, hostLast = "", first, last
	case !ok && strings.Trim(outer, "0123456789-") != "": // an address without host port
		ip, host, hostLast = left, first, last
	case !ok:
		return bad("has no valid host port")
	}
	ip = strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]")
	if strings.Trim(ip, "0123456789abcdefABCDEF.:") != "" || ip == ":" {
		return bad("has no valid host address")
	}
	if hostLast-host != last-first {
		return bad("has port ranges of different length")
	}
	return portRange{first: first, host: host, n: last - first, proto: proto, ip: ip}, nil
}

// cutLast splits at the last colon. Without a colon all of s is the right part.
func cutLast(s string) (left, right string) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return "", s
	}
	return s[:at], s[at+1:]
}

func parsePortRange(s string) (first, last int, ok bool) {
	from, to, ranged := strings.Cut(s, "-")
	first, ok = parseID(from)
	if last = first; ranged && ok {
		last, ok = parseID(to)
	}
	return first, last, ok && first <= last && last <= 65535
}

// showPorts is the text for people of published ports: "127.0.0.1:9000-9001->90-91/tcp 80->80/tcp".
func showPorts(bindings map[string][]doc.PortBinding) string {
	var all []portRange
	for key, list := range bindings {
		port, proto, _ := strings.Cut(key, "/")
		first, _ := strconv.Atoi(port)
		for _, b := range list {
			host, _ := strconv.Atoi(b.HostPort)
			all = append(all, portRange{first: first, host: host, proto: proto, ip: b.HostIp})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].before(all[j]) })
	var words []string
	for i := 0; i < len(all); i++ {
		p := all[i]
		for i+1 < len(all) && p.continues(all[i+1]) {
			p.n++
			i++
		}
		words = append(words, p.String())
	}
	return strings.Join(words, " ")
}

func (p portRange) before(q portRange) bool {
	switch {
	case p.proto != q.proto:
		return p.proto < q.proto
	case p.ip != q.ip:
		return p.ip < q.ip
	case p.host-p.first != q.host-q.first:
		return p.host-p.first < q.host-q.first
	}
	return p.first < q.first
}

func (p portRange) continues(q portRange) bool {
	return p.proto == q.proto && p.ip == q.ip && q.first == p.first+p.n+1 && q.host == p.host+p.n+1
}

func (p portRange) String() string {
	span := func(from int) string {
		if p.n == 0 {
			return strconv.Itoa(from)
		}
		return strconv.Itoa(from) + "-" + strconv.Itoa(from+p.n)
	}
	text := span(p.host) + "->" + span(p.first) + "/" + p.proto
	if p.ip != "" {
		text = p.ip + ":" + text
	}
	return text
}
