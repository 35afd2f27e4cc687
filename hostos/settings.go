package hostos

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"resin-supervisor/update/settings"
)

// Settings holds the values of config.json that the supervisor uses, with their defaults (docs/spec/cloud.md 1.2). A
// text is empty and a number 0 if the key is missing or null.
type Settings struct {
	APIEndpoint         string // origin, no trailing slash; empty when unmanaged
	LogsEndpoint        string // origin for logs, empty to use APIEndpoint
	DeltaEndpoint       string // no trailing slash
	UUID                string
	APIKey              string // provisioning key; present until the key exchange has finished
	DeviceAPIKey        string
	DeviceID            int64
	ApplicationID       int64
	RegisteredAt        int64 // milliseconds since 1970
	ListenPort          int
	APITimeout          time.Duration
	PollInterval        time.Duration // may be 0: the poller has its own minimum
	BootstrapRetryDelay time.Duration
	Hostname            string
	InitialDeviceName   string
	PersistentLogging   bool
	DevelopmentMode     bool
	RootCA              string // additional root certificate, PEM in base64
	listenPort          int    // listenPort of the file, 0 if it is not set
}

// Managed reports whether the device belongs to a cloud (docs/spec/cloud.md 2.8).
func (s Settings) Managed() bool {
	return s.APIEndpoint != ""
}

// APIPort returns the port of the device API: from the file, else from the environment, else the default
// (docs/spec/device-api.md 1.1).
func (s Settings) APIPort(environment string) int {
	port, err := strconv.Atoi(environment)
	if s.listenPort != 0 || err != nil || port < 1 || port > math.MaxUint16 {
		return s.ListenPort
	}
	return port
}

// CloudAddress returns host and port of the cloud API. The host is empty without a cloud.
func (s Settings) CloudAddress() (host string, port int) {
	endpoint, err := url.Parse(s.APIEndpoint)
	if err != nil || endpoint.Host == "" {
		return "", 0
	}
	if port, err = strconv.Atoi(endpoint.Port()); err == nil {
		return endpoint.Hostname(), port
	}
	if endpoint.Scheme == "http" {
		return endpoint.Hostname(), 80
	}
	return endpoint.Hostname(), 443
}

// settings decodes the known keys. The error names the first invalid one.
func (d document) settings() (Settings, error) {
	r := reader{document: d}
	s := Settings{
		APIEndpoint:         r.origin("apiEndpoint"),
		LogsEndpoint:        r.origin("logsEndpoint"),
		DeltaEndpoint:       strings.TrimRight(r.text("deltaEndpoint", "https://delta.balena-cloud.com"), "/"),
		UUID:                r.text("uuid", ""),
		APIKey:              r.text("apiKey", ""),
		DeviceAPIKey:        r.text("deviceApiKey", ""),
		DeviceID:            r.number("deviceId", 0, 0, maxNumber),
		ApplicationID:       r.number("applicationId", 0, 0, maxNumber),
		RegisteredAt:        r.number("registered_at", 0, 0, maxNumber),
		ListenPort:          int(r.number("listenPort", 48484, 1, math.MaxUint16)),
		APITimeout:          r.span("apiTimeout", 15*time.Minute),
		PollInterval:        r.span("appUpdatePollInterval", 15*time.Minute),
		BootstrapRetryDelay: r.span("bootstrapRetryDelay", 30*time.Second),
		Hostname:            r.text("hostname", ""),
		InitialDeviceName:   r.text("initialDeviceName", ""),
		PersistentLogging:   r.flag("persistentLogging"),
		DevelopmentMode:     r.flag("developmentMode"),
		RootCA:              r.text("balenaRootCA", ""),
	}
	if _, written := r.value("listenPort"); written {
		s.listenPort = s.ListenPort
	}
	return s, r.err
}

// maxNumber is the largest whole number that every reader of the file can represent.
const maxNumber = 1 << 53

// reader decodes the values of keys and keeps the first error.
type reader struct {
	document
	err error
}

// value returns the value of a key. A null value counts as not set.
func (r *reader) value(key string) (json.RawMessage, bool) {
	raw, present := r.document[key]
	return raw, present && string(raw) != "null"
}

func (r *reader) fail(key string, err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("%s: %w", key, err)
	}
}

func (r *reader) text(key, absent string) string {
	raw, present := r.value(key)
	if !present {
		return absent
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		r.fail(key, errors.New("not a string"))
	}
	return text
}

// origin reads a URL and reduces it to scheme, host and port (docs/spec/cloud.md Q1).
func (r *reader) origin(key string) string {
	text := strings.TrimSpace(r.text(key, ""))
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err == nil && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		err = fmt.Errorf("%q is not an http or https URL", text)
	}
	if err != nil {
		r.fail(key, err)
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func (r *reader) number(key string, absent, least, most int64) int64 {
	raw, present := r.value(key)
	if !present {
		return absent
	}
	n, err := integer(raw)
	if err == nil && (n < least || n > most) {
		err = fmt.Errorf("%d is not between %d and %d", n, least, most)
	}
	r.fail(key, err)
	return n
}

// span reads a duration in milliseconds.
func (r *reader) span(key string, absent time.Duration) time.Duration {
	most := int64(math.MaxInt64 / time.Millisecond)
	return min(settings.Longest, time.Duration(r.number(key, absent.Milliseconds(), 0, most))*time.Millisecond)
}

func (r *reader) flag(key string) bool {
	raw, present := r.value(key)
	if !present {
		return false
	}
	b, err := boolean(raw)
	r.fail(key, err)
	return b
}

// integer parses a JSON number, dropping its fraction, or a string that starts with an integer
// (docs/spec/cloud.md 1.2).
func integer(raw json.RawMessage) (int64, error) {
	var number float64
	if json.Unmarshal(raw, &number) == nil && string(raw) != "null" {
		if math.Abs(number) > maxNumber {
			return 0, fmt.Errorf("number %s is out of range", raw)
		}
		return int64(number), nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseInt(leadingInteger(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return n, nil
}

// leadingInteger returns the sign and digits at the start of text, after blanks.
func leadingInteger(text string) string {
	text = strings.TrimLeft(text, " \t\r\n")
	end := 0
	for end < len(text) && (isDigit(text[end]) || end == 0 && (text[0] == '-' || text[0] == '+')) {
		end++
	}
	return text[:end]
}

func isDigit(c byte) bool {
	return c >= '0' && c <= '9'
}

// boolean parses a JSON boolean, 0 or 1, or the strings true, false, on, off, 1 and 0 in upper or lower case.
func boolean(raw json.RawMessage) (bool, error) {
	text := string(raw)
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil && text != "null" {
		text = quoted
	}
	switch strings.ToLower(text) {
	case "true", "on", "1":
		return true, nil
	case "false", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%s is not a boolean", raw)
}

// newIdentity returns a new uuid or device key: 32 lower-case hex characters (docs/spec/cloud.md 2.2).
func newIdentity() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: the runtime ends the process when there is no randomness
	return hex.EncodeToString(b[:])
}
