package hostos

import (
	"strings"
	"testing"
	"time"
)

func TestSettingsDefaults(t *testing.T) {
	want := Settings{
		DeltaEndpoint: "https://delta.balena-cloud.com", ListenPort: 48484,
		APITimeout: 900 * time.Second, PollInterval: 900 * time.Second, BootstrapRetryDelay: 30 * time.Second,
	}
	for _, text := range []string{`{}`, `{"listenPort":null,"uuid":null,"apiTimeout":null,"developmentMode":null}`} {
		got := openConfig(t, configFile(t, text)).Get()
		if got != want || got.Managed() {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestSettingsValues(t *testing.T) {
	got := openConfig(t, configFile(t, `{
		"apiEndpoint":"https://api.example.com:8443/path/","logsEndpoint":"https://logs.example.com/","deltaEndpoint":"https://d.example.com/x/",
		"uuid":"u","apiKey":"p","deviceApiKey":"k","deviceId":"12","applicationId":34,"registered_at":1700000000000,"listenPort":"8080",
		"apiTimeout":1000,"appUpdatePollInterval":"60000ms","bootstrapRetryDelay":5e2,"hostname":"h","initialDeviceName":"n",
		"persistentLogging":"ON","developmentMode":1}`)).Get()
	want := Settings{
		APIEndpoint: "https://api.example.com:8443", LogsEndpoint: "https://logs.example.com", DeltaEndpoint: "https://d.example.com/x",
		UUID: "u", APIKey: "p", DeviceAPIKey: "k", DeviceID: 12, ApplicationID: 34, RegisteredAt: 1700000000000, ListenPort: 8080,
		APITimeout: time.Second, PollInterval: time.Minute, BootstrapRetryDelay: 500 * time.Millisecond, Hostname: "h", InitialDeviceName: "n",
		PersistentLogging: true, DevelopmentMode: true, listenPort: 8080,
	}
	if got != want || !got.Managed() {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestAPIPort(t *testing.T) {
	for _, test := range []struct {
		text, environment string
		want              int
	}{
		{`{}`, "", 48484},
		{`{}`, "8080", 8080},
		{`{"listenPort":null}`, "8080", 8080},
		{`{"listenPort":48484}`, "8080", 48484},
		{`{"listenPort":"80"}`, "8080", 80},
		{`{}`, "0", 48484},
		{`{}`, "65536", 48484},
		{`{}`, "http", 48484},
	} {
		if got := openConfig(t, configFile(t, test.text)).Get().APIPort(test.environment); got != test.want {
			t.Errorf("%s with %q: got %d, want %d", test.text, test.environment, got, test.want)
		}
	}
}

func TestSettingsErrorsNameTheKey(t *testing.T) {
	for text, key := range map[string]string{
		`{"listenPort":"http"}`:              "listenPort",
		`{"listenPort":""}`:                  "listenPort",
		`{"listenPort":0}`:                   "listenPort",
		`{"listenPort":65536}`:               "listenPort",
		`{"deviceId":true}`:                  "deviceId",
		`{"deviceId":[1]}`:                   "deviceId",
		`{"deviceId":1e300}`:                 "deviceId",
		`{"registered_at":"-"}`:              "registered_at",
		`{"apiTimeout":-1}`:                  "apiTimeout",
		`{"apiTimeout":9223372036855}`:       "apiTimeout",
		`{"bootstrapRetryDelay":{}}`:         "bootstrapRetryDelay",
		`{"developmentMode":"yes"}`:          "developmentMode",
		`{"persistentLogging":2}`:            "persistentLogging",
		`{"uuid":12}`:                        "uuid",
		`{"hostname":false}`:                 "hostname",
		`{"apiEndpoint":"api.example.com"}`:  "apiEndpoint",
		`{"apiEndpoint":"https://"}`:         "apiEndpoint",
		`{"logsEndpoint":"https://a b.com"}`: "logsEndpoint",
	} {
		if _, err := OpenConfig(configFile(t, text)); err == nil || !strings.Contains(err.Error(), ": "+key+": ") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestBoolean(t *testing.T) {
	for text, want := range map[string]bool{
		`true`: true, `1`: true, `"true"`: true, `"True"`: true, `"on"`: true, `"ON"`: true, `"1"`: true,
		`false`: false, `0`: false, `"FALSE"`: false, `"off"`: false, `"0"`: false,
	} {
		if got, err := boolean([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{`null`, `2`, `""`, `"yes"`, `{}`, `1.0`} {
		if got, err := boolean([]byte(text)); err == nil {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

func TestInteger(t *testing.T) {
	for text, want := range map[string]int64{
		`5`: 5, `-5`: -5, `5.9`: 5, `5e3`: 5000, `"5"`: 5, `" 5 "`: 5, `"+5"`: 5, `"-5"`: -5, `"5px"`: 5, `"5.9"`: 5, `9007199254740992`: 1 << 53,
	} {
		if got, err := integer([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{`null`, `true`, `""`, `"x5"`, `"-"`, `"--5"`, `"99999999999999999999"`, `1e20`, `[]`} {
		if got, err := integer([]byte(text)); err == nil {
			t.Errorf("%s: got %d", text, got)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(preprovisioned))
	f.Add([]byte(`{"listenPort":"1","os":{"a":[null,1e5]},"x":"\ud800\u2028<"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseDocument(data)
		if err != nil {
			return
		}
		settings, err := doc.settings()
		text, encodeErr := doc.encode()
		if encodeErr != nil {
			t.Fatalf("encode what was read: %v", encodeErr)
		}
		again, readErr := parseDocument(text)
		if readErr != nil || len(again) != len(doc) {
			t.Fatalf("read what was written: %v", readErr)
		}
		if same, sameErr := again.settings(); (sameErr == nil) != (err == nil) || err == nil && same != settings {
			t.Fatalf("settings changed by writing: %+v, %+v", settings, same)
		}
	})
}

func TestCloudAddress(t *testing.T) {
	f := func(endpoint, host string, port int) {
		t.Helper()
		if h, p := (Settings{APIEndpoint: endpoint}).CloudAddress(); h != host || p != port {
			t.Errorf("%q: %q, %d, want %q, %d", endpoint, h, p, host, port)
		}
	}
	f("", "", 0)
	f("https://api.example.com", "api.example.com", 443)
	f("http://api.example.com", "api.example.com", 80)
	f("https://api.example.com:8443", "api.example.com", 8443)
	f("https://[2001:db8::1]:8443", "2001:db8::1", 8443)
}
