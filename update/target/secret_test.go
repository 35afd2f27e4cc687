package target

import (
	"strings"
	"testing"
)

// Problems of a document never show a value of a variable, a label or the configuration, in any shape and place.
func TestProblemsShowNoSecrets(t *testing.T) {
	const secret = "sesame"
	wrong := []any{secret, []any{"A=" + secret}, Map{"A": []any{secret}}, Map{"A": Map{"b": secret}}, Map{"A=" + secret: "x"}, Map{"A=" + secret + ":": true}}
	told := func(document []byte) {
		t.Helper()
		lines := ""
		_, problems, err := DecodeV3Entry(document)
		for _, p := range problems {
			lines += p.Text
		}
		if err != nil {
			lines += err.Error()
		}
		if _, err := DecodeLocal(document); err != nil {
			lines += err.Error()
		}
		if _, problems, err = DecodePreload(document, nil); err != nil {
			lines += err.Error()
		}
		for _, p := range problems {
			lines += p.Text
		}
		if strings.Contains(lines, secret) || lines == "" {
			t.Errorf("%s: %s", document, lines)
		}
	}
	service := Map{"serviceName": "web", "image": "a", "environment": Map{"A": secret}}
	for _, value := range wrong {
		for _, place := range []string{"environment", "labels"} {
			told(with(t, entryV3, inService+place, value))
			told(with(t, posted, "local/apps/7/services/31/"+place, value))
		}
		told(with(t, entryV3, "config", value))
		told(with(t, posted, "local/config", value))
		told(encode(t, []any{Map{"appId": 1, "name": "n", "commit": "c", "imageId": "a", "env": value}}))
		told(encode(t, []any{Map{"appId": 1, "name": "n", "commit": "c", "imageId": "a", "config": value}}))
	}
	for _, value := range []any{[]any{service}, []any{Map{"x": service}}} {
		for _, place := range []string{"apps", "apps/" + shop, inApp + "releases", inRelease + "services", inRelease + "services/pump", inService + "image", inService + "id"} {
			told(with(t, entryV3, place, value))
		}
		for _, place := range []string{"local", "local/apps", "local/apps/7", "local/apps/7/services", "local/apps/7/services/31"} {
			told(with(t, posted, place, value))
		}
		told(encode(t, value))
	}
}
