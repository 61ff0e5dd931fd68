package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"devctl/internal/aws"
	"devctl/internal/metadata"
)

// fakeCloud answers as it is told.
type fakeCloud struct {
	machine metadata.Machine
	mains   string
	founds  bool
	err     error
	asked   []string // of Founds

	mu sync.Mutex // of what changes while somebody asks
}

func (f *fakeCloud) Machine(context.Context) (metadata.Machine, error) { return f.machine, f.err }

func (f *fakeCloud) Mains(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mains, f.err
}

func (f *fakeCloud) say(mains string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mains, f.err = mains, err
}

func (f *fakeCloud) Founds(_ context.Context, name, machine, mains string) (bool, error) {
	f.asked = append(f.asked, name+" "+machine+" "+mains)
	return f.founds, f.err
}

func from(values map[string]string) getter { return func(key string) string { return values[key] } }

func TestIdentify(t *testing.T) {
	t.Parallel()
	const (
		names = "main-1,main-2,main-3"
		mains = "main-1=10.20.0.3,main-2=10.20.0.4,main-3=10.20.0.5"
	)
	aws := metadata.Machine{ID: "i-0123456789abcdef0", Region: "eu-central-1", Zone: "eu-central-1b", Address: "10.20.0.4"}
	droplet := metadata.Machine{ID: "412345678", Region: "fra1", Zone: "fra1", Address: "10.20.0.4"}
	for _, tc := range []struct {
		name    string
		env     map[string]string
		cloud   *fakeCloud
		founded bool
		want    []setting
		err     string
	}{
		{
			name:  "elastic worker",
			env:   map[string]string{keyRole: "worker", keyMains: mains},
			cloud: &fakeCloud{machine: aws},
			want:  []setting{{keyInstance, "i-0123456789abcdef0"}, {keyNode, "worker-9abcdef0"}, {keyZone, "eu-central-1b"}, {keyAddress, "10.20.0.4"}},
		}, {
			name:  "slot on AWS",
			env:   map[string]string{keyRole: "data", keyNode: "data-2", keyZone: "eu-central-1b", keyAddress: "10.20.0.4", keyMains: mains},
			cloud: &fakeCloud{machine: aws},
			want:  []setting{{keyInstance, "i-0123456789abcdef0"}},
		}, {
			name:  "main that may found",
			env:   map[string]string{keyRole: "main", keyNode: "main-2", keyZone: "eu-central-1b", keyAddress: "10.20.0.4", keyMains: mains},
			cloud: &fakeCloud{machine: aws, founds: true},
			want:  []setting{{keyInstance, "i-0123456789abcdef0"}, {keyEtcd, "new"}},
		}, {
			name:    "main with etcd's data, whoever could answer",
			env:     map[string]string{keyRole: "main", keyNode: "main-2", keyZone: "eu-central-1b", keyAddress: "10.20.0.4", keyMains: mains},
			cloud:   &fakeCloud{machine: aws, founds: true},
			founded: true,
			want:    []setting{{keyInstance, "i-0123456789abcdef0"}, {keyEtcd, "join"}},
		}, {
			name:  "main on DigitalOcean that replaces one",
			env:   map[string]string{keyRole: "main", keyNode: "main-2", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: mains},
			want: []setting{{keyInstance, "412345678"}, {keyZone, "fra1"}, {keyAddress, "10.20.0.4"},
				{keyMains, mains}, {keyEtcd, "join"}},
		}, {
			name:  "worker on DigitalOcean",
			env:   map[string]string{keyRole: "worker", keyMainNames: names},
			cloud: &fakeCloud{machine: metadata.Machine{ID: "412345679", Region: "fra1", Zone: "fra1", Address: "10.20.0.9"}, mains: mains},
			want: []setting{{keyInstance, "412345679"}, {keyNode, "worker-12345679"}, {keyZone, "fra1"}, {keyAddress, "10.20.0.9"},
				{keyMains, mains}},
		}, {
			name:  "data node without a name",
			env:   map[string]string{keyRole: "data", keyMains: mains},
			cloud: &fakeCloud{machine: aws},
			err:   `DEVCTL_NODE is missing: nodes of role "data" have it from Ignition`,
		}, {
			name:  "another zone than planned",
			env:   map[string]string{keyRole: "data", keyNode: "data-2", keyZone: "eu-central-1a", keyMains: mains},
			cloud: &fakeCloud{machine: aws},
			err:   "DEVCTL_ZONE is eu-central-1a in the machine's configuration, and eu-central-1b where it runs",
		}, {
			name:  "mains of before this machine",
			env:   map[string]string{keyRole: "main", keyNode: "main-2", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: strings.ReplaceAll(mains, "10.20.0.4", "10.20.0.44"), founds: true},
			err:   "DEVCTL_MAINS still has main-2 at 10.20.0.44, and this machine is at 10.20.0.4",
		}, {
			name:  "half of the mains",
			env:   map[string]string{keyRole: "main", keyNode: "main-2", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: "main-1=10.20.0.3,main-2=10.20.0.4", founds: true},
			err:   "DEVCTL_MAINS names main-1, main-2, and the main nodes are main-1, main-2, main-3",
		}, {
			name:  "more mains than this machine was told of",
			env:   map[string]string{keyRole: "worker", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: mains + ",main-4=10.20.0.6,main-5=10.20.0.7"},
			want: []setting{{keyInstance, "412345678"}, {keyNode, "worker-12345678"}, {keyZone, "fra1"}, {keyAddress, "10.20.0.4"},
				{keyMains, mains + ",main-4=10.20.0.6,main-5=10.20.0.7"}},
		}, {
			name:  "one address for two",
			env:   map[string]string{keyRole: "worker", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: "main-1=10.20.0.3,main-2=10.20.0.3,main-3=10.20.0.5"},
			err:   "DEVCTL_MAINS has two nodes at one address",
		}, {
			name:  "an empty answer",
			env:   map[string]string{keyRole: "worker", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet},
			err:   "DEVCTL_MAINS names , and the main nodes are main-1, main-2, main-3",
		}, {
			name:  "an address that is none",
			env:   map[string]string{keyRole: "worker", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: "main-1=,main-2=10.20.0.3,main-3=10.20.0.5"},
			err:   `DEVCTL_MAINS has "main-1=", want NAME=ADDRESS`,
		}, {
			name:  "a main that nobody expects",
			env:   map[string]string{keyRole: "main", keyNode: "main-9", keyMainNames: names},
			cloud: &fakeCloud{machine: droplet, mains: mains, founds: true},
			err:   "main-9 is no main node: those are main-1, main-2, main-3",
		}, {
			name:  "no answer",
			env:   map[string]string{keyRole: "main", keyNode: "main-2", keyMains: mains},
			cloud: &fakeCloud{machine: aws, founds: true, err: errors.New("timeout")},
			err:   "timeout",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := identifyOnce(t.Context(), tc.cloud, from(tc.env), tc.founded)
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(setting{})); d != "" {
				t.Errorf("settings (-want +got):\n%s", d)
			}
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || err.Error() != tc.err) {
				t.Errorf("error = %v\nwant    %s", err, tc.err)
			}
			if tc.founded && len(tc.cloud.asked) > 0 {
				t.Errorf("a main with data asks: %q", tc.cloud.asked)
			}
		})
	}
}

// TestIdentifyWaits: a cloud that does not answer is asked until it does, one that never does until ctx ends, and each
// reason is told once.
func TestIdentifyWaits(t *testing.T) {
	t.Parallel()
	var journal bytes.Buffer
	log := slog.New(slog.NewTextHandler(&journal, nil))
	tries := 0
	err := persist(t.Context(), log, "not yet", func() error {
		if tries++; tries < 4 {
			return errors.New("timeout")
		}
		return nil
	})
	if err != nil || tries != 4 || strings.Count(journal.String(), "timeout") != 1 {
		t.Errorf("%v after %d tries, and said:\n%s", err, tries, journal.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = persist(ctx, log, "not yet", func() error { cancel(); return errors.New("timeout") })
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("error = %v", err)
	}
}

// s3 keeps what was claimed, behind a metadata service that says in every path who is asking.
type s3 struct {
	mu      sync.Mutex
	objects map[string]string
	down    bool
}

func (s *s3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.URL.Path {
	case "/latest/api/token":
		_, _ = io.WriteString(w, "token")
	case "/latest/meta-data/iam/security-credentials/":
		_, _ = io.WriteString(w, "main")
	case "/latest/meta-data/iam/security-credentials/main":
		_, _ = io.WriteString(w, `{"Code":"Success","AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}`)
	case "/latest/meta-data/instance-id":
		_, _ = io.WriteString(w, "i-1")
	case "/latest/meta-data/placement/region":
		_, _ = io.WriteString(w, "eu-central-1")
	case "/latest/meta-data/placement/availability-zone":
		_, _ = io.WriteString(w, "eu-central-1a")
	case "/latest/meta-data/local-ipv4":
		_, _ = io.WriteString(w, "10.10.0.11")
	default:
		there, exists := s.objects[r.URL.Path]
		switch {
		case s.down:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method == http.MethodGet && exists:
			_, _ = io.WriteString(w, there)
		case exists:
			w.WriteHeader(http.StatusPreconditionFailed)
		default:
			body, _ := io.ReadAll(r.Body)
			s.objects[r.URL.Path] = string(body)
		}
	}
}

// TestFoundingOnAWS: whatever the groups do with their machines, only the first of every slot of the first mains founds.
func TestFoundingOnAWS(t *testing.T) {
	t.Parallel()
	store := &s3{objects: map[string]string{}}
	server := httptest.NewServer(store)
	defer server.Close()
	c := awsCloud{aws.Client{Metadata: metadata.AWS{Base: server.URL}, Endpoint: func(string) string { return server.URL }}, "s3://bucket/registry"}
	const three, five = "main-1=a,main-2=b,main-3=c", "main-1=a,main-2=b,main-3=c,main-4=d,main-5=e"
	for _, step := range []struct {
		what, name, machine, mains string
		down                       bool
		want                       bool
		err                        string
	}{
		{what: "nobody answers", name: "main-1", machine: "i-1", mains: three, down: true, err: "claim s3://bucket/registry/founding/mains: Service Unavailable (503): "},
		{what: "the first main", name: "main-1", machine: "i-1", mains: three, want: true},
		{what: "the second", name: "main-2", machine: "i-2", mains: three, want: true},
		{what: "the first once more, after a reboot before etcd had data", name: "main-1", machine: "i-1", mains: three, want: true},
		{what: "a machine in the first's place", name: "main-1", machine: "i-11", mains: three},
		{what: "the third, late", name: "main-3", machine: "i-3", mains: three, want: true},
		{what: "a slot that is added later", name: "main-4", machine: "i-4", mains: five},
		{what: "a first machine that is told of more mains", name: "main-3", machine: "i-3", mains: five},
		{what: "nobody answers later", name: "main-1", machine: "i-1", mains: three, down: true, err: "claim s3://bucket/registry/founding/mains: Service Unavailable (503): "},
	} {
		store.mu.Lock()
		store.down = step.down
		store.mu.Unlock()
		got, err := c.Founds(t.Context(), step.name, step.machine, step.mains)
		if got != step.want || (err == nil) != (step.err == "") || err != nil && err.Error() != step.err {
			t.Errorf("%s: %v, %v, want %v", step.what, got, err, step.want)
		}
	}
}

// TestRegistryOnDigitalOcean: what the program has not written yet is waited for, and only the droplets that it has written
// down found, together with the mains of then.
func TestRegistryOnDigitalOcean(t *testing.T) {
	t.Parallel()
	objects := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := objects[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	c := doCloud{registry: server.URL + "/registry"}
	const mains, later = "main-1=a,main-2=b,main-3=c", "main-1=a,main-2=x,main-3=c"
	const soon = "founders.env is not there yet: the program writes it when all main nodes are made"
	if _, err := c.Founds(t.Context(), "main-1", "1", mains); err == nil || err.Error() != soon {
		t.Errorf("error = %v, want %s", err, soon)
	}
	if got, err := c.Mains(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "mains.env is not there yet") {
		t.Errorf("mains = %q, %v", got, err)
	}
	objects["/registry/mains.env"] = "DEVCTL_MAINS=" + mains + "\n"
	objects["/registry/founders.env"] = "DEVCTL_MAINS=" + mains + "\nDEVCTL_FOUNDERS=1,2,3\n"
	if got, err := c.Mains(t.Context()); got != mains || err != nil {
		t.Errorf("mains = %q, %v", got, err)
	}
	for _, tc := range []struct {
		machine, mains string
		want           bool
	}{{"2", mains, true}, {"22", mains, false}, {"", mains, false}, {"1", later, false}} {
		if got, err := c.Founds(t.Context(), "main", tc.machine, tc.mains); got != tc.want || err != nil {
			t.Errorf("droplet %q with %s founds: %v, %v", tc.machine, tc.mains, got, err)
		}
	}
}

func TestNewCloud(t *testing.T) {
	t.Parallel()
	for platform, want := range map[string]bool{"": false, "local": false, "aws": true, "digitalocean": true} {
		if got, err := newCloud(from(map[string]string{keyPlatform: platform})); (got != nil) != want || err != nil {
			t.Errorf("%q: %v, %v", platform, got, err)
		}
	}
	if _, err := newCloud(from(map[string]string{keyPlatform: "azure"})); err == nil || err.Error() != `DEVCTL_PLATFORM is "azure", and no cloud is called so` {
		t.Errorf("error = %v", err)
	}
}
