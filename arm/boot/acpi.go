//go:build !arm

package boot

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"resin-supervisor/hostos/file"
)

// acpi is the list of ACPI tables that the agent loads into the kernel of an UP board at each start, for example one for
// a device on its pins (docs/spec/host.md 5.1). A file on the boot partition has their names.
type acpi struct {
	path string // configfs.json
	root string // where the host's root is mounted

	mu sync.Mutex // held during a change of the file
}

const acpiKey = "ssdt"

func (*acpi) canonicalKey(key string) string {
	if key == acpiKey {
		return acpiKey
	}
	return ""
}

// document reads the file and the names of the tables in it. A file that is no JSON object has none.
func (a *acpi) document() (doc map[string]json.RawMessage, names []string, err error) {
	data, err := file.Read(a.path, file.Small)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if json.Unmarshal(data, &doc) != nil || json.Unmarshal(doc[acpiKey], &names) != nil {
		names = nil
	}
	return doc, names, nil
}

func (a *acpi) read() (values, error) {
	_, names, err := a.document()
	if len(names) == 0 {
		return nil, err
	}
	return values{acpiKey: `"` + strings.Join(names, `","`) + `"`}, nil
}

// tableNames parses the text of a variable: one name, or several in quotes.
func tableNames(text string) (names []string, err error) {
	switch {
	case text == "":
		return nil, nil
	case strings.HasPrefix(text, `"`):
		names = strings.Split(strings.ReplaceAll(text, `"`, ""), ",")
		for i, name := range names {
			names[i] = strings.TrimSpace(name)
		}
	default:
		names = []string{text}
	}
	if !slices.ContainsFunc(names, isInvalidName) {
		return names, nil
	}
	return nil, errors.New("neither the name of an ACPI table nor a list of such names in quotes")
}

// isInvalidName reports whether a name is not a text that names a file in one folder.
func isInvalidName(name string) bool {
	return name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name)
}

func (a *acpi) change(want values) (c change, err error) {
	names, wrong := tableNames(want[acpiKey])
	if wrong != nil {
		c.refused = map[string]error{acpiKey: wrong}
		return c, nil
	}
	_, have, err := a.document()
	if err == nil && !slices.Equal(have, names) {
		c.write, c.reboot = func() error { return a.set(names) }, true
	}
	return c, err
}

// set writes the names into the file and keeps its other members.
func (a *acpi) set(names []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	doc, _, err := a.document()
	if err != nil {
		return err
	}
	if doc == nil {
		doc = make(map[string]json.RawMessage)
	}
	if delete(doc, acpiKey); len(names) > 0 {
		doc[acpiKey], _ = json.Marshal(names) // texts always encode
	}
	return a.store(doc)
}

func (a *acpi) store(doc map[string]json.RawMessage) error {
	text, err := json.Marshal(doc)
	if err == nil {
		_, err = file.WriteIfChanged(a.path, text, 0o644)
	}
	return err
}

// load loads the tables that the file names. The device runs on without a table that cannot be loaded.
func (a *acpi) load(loadModule func(name string) error, logToDevice func(text string, stderr bool), log zerolog.Logger) {
	names, err := a.prepare(loadModule)
	if err != nil {
		log.Error().Err(err).Msg("ACPI tables cannot be loaded, the device goes on without them")
		logToDevice("Unable to initialise ConfigFS", true)
	}
	for _, name := range names {
		id, err := a.loadTable(name)
		switch {
		case err == nil:
			log.Info().Str("table", name).Str("oem_id", id[0]).Str("oem_table_id", id[1]).Str("oem_revision", id[2]).Msg("ACPI table loaded")
			continue
		case errors.Is(err, errNoTable):
			logToDevice("Missing AML for '"+name+"'. Unable to load.", true)
		default:
			logToDevice("Unable to load AML for '"+name+"': "+err.Error(), true)
		}
		log.Error().Str("table", name).Err(err).Msg("ACPI table was not loaded, the device goes on without it")
	}
}

// prepare loads the kernel module and reads the names of the tables. It writes the file in canonical form if it differs.
func (a *acpi) prepare(loadModule func(name string) error) (names []string, err error) {
	if err := loadModule("acpi_configfs"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	doc, names, err := a.document()
	if err == nil && doc != nil {
		err = a.store(doc)
	}
	if err != nil {
		return nil, err
	}
	return names, nil
}

var errNoTable = errors.New("there is no such table on the device")

// loadTable passes a table to the kernel and returns the OEM id, table id and revision that the kernel shows for it. The
// kernel shows none for a table that it refused.
func (a *acpi) loadTable(name string) (id [3]string, err error) {
	source := a.root + "/boot/acpi-tables/" + name + ".aml"
	if isInvalidName(name) || !exists(source) {
		return id, errNoTable
	}
	content, err := file.Read(source, file.Small)
	if err != nil {
		return id, err
	}
	table := a.root + "/sys/kernel/config/acpi/table/" + name
	if err := unix.Mkdir(table, 0o755); err != nil && err != unix.EEXIST {
		return id, &fs.PathError{Op: "mkdir", Path: table, Err: err}
	}
	if err := overwrite(table+"/aml", content, 0); err != nil {
		return id, err
	}
	for i, of := range [...]string{"oem_id", "oem_table_id", "oem_revision"} {
		text, err := file.Read(table+"/"+of, file.Small)
		if err != nil {
			return id, err
		}
		id[i] = strings.TrimSpace(string(text))
	}
	return id, nil
}
