package logs

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"resin-supervisor/update/view"
)

func TestEncodeLine(t *testing.T) {
	f := func(want string, l view.LogLine, named bool) {
		t.Helper()
		if got := string(appendLine(nil, &l, named)); got != want+"\n" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(`{"message":"hi","timestamp":5,"serviceId":31}`, view.LogLine{Message: "hi", Timestamp: 5, ServiceID: 31, ServiceName: "web"}, false)
	f(`{"serviceName":"web","message":"hi","timestamp":5,"serviceId":31,"isStdErr":true}`,
		view.LogLine{Message: "hi", Timestamp: 5, ServiceID: 31, ServiceName: "web", IsStdErr: true}, true)
	long := strings.Repeat("x", 20000)
	f(`{"message":"`+long+`","timestamp":5,"serviceId":31}`, view.LogLine{Message: long, Timestamp: 5, ServiceID: 31}, true)
	f(`{"message":"hi","isSystem":true,"timestamp":5,"isStdErr":true}`,
		view.LogLine{Message: "hi", Timestamp: 5, IsSystem: true, IsStdErr: true}, true)
}

// cloud.md 74: a message is cut at 10000 characters, the mark among them.
func TestLongMessagesAreCut(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := shortened(s); got != want {
			t.Errorf("%d bytes became %d, want %d", len(s), len(got), len(want))
		}
	}
	f(strings.Repeat("x", 10000), strings.Repeat("x", 10000))
	f(strings.Repeat("x", 20000), strings.Repeat("x", 9995)+"[...]")
	f(strings.Repeat("é", 10000), strings.Repeat("é", 10000))
	f(strings.Repeat("é", 10001), strings.Repeat("é", 9995)+"[...]")
	f(strings.Repeat("😀", 5000), strings.Repeat("😀", 5000)) // two units of UTF-16 each
	f(strings.Repeat("😀", 5001), strings.Repeat("😀", 4997)+"[...]")
}

func FuzzEncodeString(f *testing.F) {
	f.Add("a\"\\\n\t\x00\x7f\u2028é😀\xff\xc3")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(s, ""); utf8.ValidString(s) && got != want {
			t.Errorf("%q became %q", s, got)
		}
	})
}
