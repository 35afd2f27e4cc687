package dbus

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// The bytes of a call, by hand from the D-Bus specification.
func TestEncodeCall(t *testing.T) {
	got, err := encode(2, Call{Service: "a.b", Path: "/a", Interface: "a.I", Method: "Do", Args: []any{"xy", true}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"6c010001", "0c000000", "02000000", "48000000", // little-endian call, body, serial, fields
		"01016f00", "02000000", "2f6100", "0000000000", // path
		"02017300", "03000000", "612e4900", "00000000", // interface
		"03017300", "02000000", "446f00", "0000000000", // member
		"06017300", "03000000", "612e6200", "00000000", // destination
		"08016700", "02736200", // signature sb
		"02000000", "787900", "00", "01000000", // body
	}, "")
	if hex.EncodeToString(got) != want {
		t.Errorf("got\n%x\nwant\n%s", got, want)
	}
	if _, err := encode(2, Call{Args: []any{7}}); err == nil {
		t.Error("a number was accepted as an argument")
	}
}

// answer returns a message of a service with the given body, in either byte order.
func answer(order binary.AppendByteOrder, kind byte, serial uint32, signature string, body []byte) []byte {
	mark := byte('l')
	if order.String() == "BigEndian" {
		mark = 'B'
	}
	m := []byte{mark, kind, 1, 1}
	m = order.AppendUint32(m, uint32(len(body)))
	m = order.AppendUint32(m, 9)
	fields := []byte{5, 1, 'u', 0}
	fields = order.AppendUint32(fields, serial)
	if kind == kindError {
		fields = append(fields, 4, 1, 's', 0)
		fields = order.AppendUint32(fields, 3)
		fields = append(fields, "a.E\x00"...)
		fields = append(fields, make([]byte, -len(fields)&7)...)
	}
	fields = append(fields, 8, 1, 'g', 0, byte(len(signature)))
	fields = append(append(fields, signature...), 0)
	m = order.AppendUint32(m, uint32(len(fields)))
	m = append(m, fields...)
	return append(append(m, make([]byte, -len(m)&7)...), body...)
}

func text(order binary.AppendByteOrder, b []byte, s string) []byte {
	b = append(b, make([]byte, -len(b)&3)...)
	return append(append(order.AppendUint32(b, uint32(len(s))), s...), 0)
}

func TestReadAnswers(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		variant := text(order, []byte{1, 's', 0}, "active")
		list := order.AppendUint32(nil, 0)
		list = text(order, list, "one")
		list = text(order, list, "two")
		if order.String() == "BigEndian" {
			binary.BigEndian.PutUint32(list, uint32(len(list)-4))
		} else {
			binary.LittleEndian.PutUint32(list, uint32(len(list)-4))
		}
		dict := order.AppendUint32(nil, 0) // an empty a{sv}, padded to its entries, then a text
		dict = text(order, append(dict, 0, 0, 0, 0), "after")
		for _, c := range []struct {
			signature string
			body      []byte
			want      []string
		}{
			{"", nil, nil},
			{"s", text(order, nil, "x"), []string{"x"}},
			{"o", text(order, nil, "/a/b"), []string{"/a/b"}},
			{"v", variant, []string{"active"}},
			{"as", list, []string{"one", "two"}},
			{"a{sv}s", dict, []string{"after"}},
			{"us", text(order, order.AppendUint32(nil, 5), "x"), []string{"x"}},
			{"(us)", text(order, order.AppendUint32(nil, 5), "x"), []string{"x"}},
		} {
			m, err := read(bytes.NewReader(answer(order, kindReply, 7, c.signature, c.body)))
			if err != nil || m.kind != kindReply || m.replyTo != 7 || !slices.Equal(m.texts, c.want) {
				t.Errorf("%s %s: %+v %v, want %q", order, c.signature, m, err, c.want)
			}
		}
		m, err := read(bytes.NewReader(answer(order, kindError, 7, "s", text(order, nil, "no"))))
		if err != nil || m.errorName != "a.E" || !slices.Equal(m.texts, []string{"no"}) {
			t.Errorf("error reads %+v %v", m, err)
		}
	}
}

func TestReadRefusesMalformedMessages(t *testing.T) {
	whole := answer(binary.LittleEndian, kindReply, 7, "s", text(binary.LittleEndian, nil, "x"))
	for n := range whole {
		if _, err := read(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("%d of %d bytes were accepted as a message", n, len(whole))
		}
	}
	for name, c := range map[string]struct{ signature, body string }{
		"string beyond the end": {"s", "\xff\xff\xff\x7f"},
		"list beyond the end":   {"as", "\xff\xff\xff\x7f"},
		"unknown type":          {"z", "\x00\x00\x00\x00"},
		"list of nothing":       {"a", "\x00\x00\x00\x00"},
		"open structure":        {"(s", "\x00\x00\x00\x00\x00"},
		"deep variants":         {"v", strings.Repeat("\x01v\x00", 200)},
		"variant of two":        {"v", "\x02ss\x00"},
		"list of empty groups":  {"a()", "\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		if m, err := read(bytes.NewReader(answer(binary.LittleEndian, kindReply, 7, c.signature, []byte(c.body)))); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if _, err := read(bytes.NewReader([]byte("l\x02\x00\x01\xff\xff\xff\x7f\x01\x00\x00\x00\x00\x00\x00\x00"))); err == nil {
		t.Error("a message of 2 GiB was accepted")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(answer(binary.LittleEndian, kindReply, 7, "s", text(binary.LittleEndian, nil, "x")))
	f.Add(answer(binary.BigEndian, kindError, 7, "as", []byte{0, 0, 0, 0}))
	f.Add(answer(binary.LittleEndian, kindReply, 7, "a{sv}", []byte{0, 0, 0, 0, 0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(bytes.NewReader(data))
		if err != nil && m.replyTo != 0 {
			t.Errorf("%v with %+v", err, m)
		}
	})
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string][]string{
		"unix:path=/run/dbus/system_bus_socket": {"/run/dbus/system_bus_socket"},
		"unix:path=/a%20b,guid=1":               {"/a b"},
		"unix:abstract=x":                       {"@x"},
		"tcp:host=h;unix:path=/b":               {"/b"},
		"unix:path=/a;unix:path=/b":             {"/a", "/b"},
		"":                                      {"/first", "/second"},
		"/run/dbus/system_bus_socket":           nil,
		"unix:tmpdir=/tmp":                      nil,
		"unix:path=%zz":                         nil,
	} {
		if got := New(address, "/first", "/second").sockets; !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
