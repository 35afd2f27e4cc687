package compose

import (
	"reflect"
	"testing"
)

// Conformance 9.
func TestContainerName(t *testing.T) {
	if got := ContainerName("web", 41, 7, "c0ffee"); got != "web_41_7_c0ffee" {
		t.Error(got)
	}
	f := func(name, service string, image, release int, commit string, wantOK bool) {
		t.Helper()
		s, i, r, c, ok := ParseContainerName(name)
		if s != service || i != image || r != release || c != commit || ok != wantOK {
			t.Errorf("ParseContainerName(%q) = %q %d %d %q %v", name, s, i, r, c, ok)
		}
	}
	f("web_41_7_c0ffee", "web", 41, 7, "c0ffee", true)
	f("/web_41_7_c0ffee", "web", 41, 7, "c0ffee", true)
	f("my_web_1_41_7_c0ffee", "my_web_1", 41, 7, "c0ffee", true)
	f("old_web_41_7_c0ffee", "old_web", 41, 7, "c0ffee", true)
	f("web_41_7", "web", 41, 7, "", true)
	f("web_41_7_", "web", 41, 7, "", true)
	f("web_41_7_12345678", "web", 41, 7, "12345678", true)
	f("web", "", 0, 0, "", false)
	f("web_41", "", 0, 0, "", false)
	f("web_x_7_c0ffee", "", 0, 0, "", false)
	f("web_-1_7_c0ffee", "", 0, 0, "", false)
	f("web_99999999999999999999_7_c0ffee", "", 0, 0, "", false)
	f("", "", 0, 0, "", false)
}

func TestNetworkNames(t *testing.T) {
	if got := NetworkName("5aa0", "my_net"); got != "5aa0_my_net" {
		t.Error(got)
	}
	f := func(name, label string, appID int, uuid, network string, wantOK bool) {
		t.Helper()
		labels := map[string]string{}
		if label != "" {
			labels["io.resin.app-id"] = label
		}
		i, u, n, ok := ParseNetworkName(name, labels)
		if i != appID || u != uuid || n != network || ok != wantOK {
			t.Errorf("ParseNetworkName(%q, %q) = %d %q %q %v", name, label, i, u, n, ok)
		}
	}
	f("5aa0_default", "31", 31, "5aa0", "default", true)
	f("5aa0_my_net", "", 0, "5aa0", "my_net", true)
	f("31_default", "", 31, "", "default", true)
	f("31_default", "31", 31, "31", "default", true)
	f("supervisor0", "", 0, "", "", false)
	f("shop_default", "", 0, "", "", false)
	f("user-app_default", "31", 31, "user-app", "default", true)
	f("_default", "31", 0, "", "", false)
	f("31_", "", 0, "", "", false)
}

// D15: the match is anchored.
func TestVolumeNames(t *testing.T) {
	if got := VolumeName(31, "my_data"); got != "31_my_data" {
		t.Error(got)
	}
	f := func(s string, appID int, name string, wantOK bool) {
		t.Helper()
		if i, n, ok := ParseVolumeName(s); i != appID || n != name || ok != wantOK {
			t.Errorf("ParseVolumeName(%q) = %d %q %v", s, i, n, ok)
		}
	}
	f("31_data", 31, "data", true)
	f("31_my_data", 31, "my_data", true)
	f("x12_data", 0, "", false)
	f("extra-firmware", 0, "", false)
	f("_data", 0, "", false)
	f("31_", 0, "", false)
	f("31", 0, "", false)
}

// Conformance 19.
func TestNormaliseLabels(t *testing.T) {
	in := map[string]string{
		"io.resin.features.resin-api": "1", "io.resin.x": "old", "io.balena.x": "new",
		"io.balena.resin": "kept", "resin": "kept", "com.resin.y": "kept",
	}
	want := map[string]string{
		"io.balena.features.balena-api": "1", "io.balena.x": "new",
		"io.balena.resin": "kept", "resin": "kept", "com.resin.y": "kept",
	}
	if got := NormaliseLabels(in); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := NormaliseLabels(nil); got == nil || len(got) != 0 {
		t.Errorf("nil labels become %v", got)
	}
}
