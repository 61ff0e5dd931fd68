package daemon

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"devctl/units"
)

func TestOpenerAsksTheCloudOfTheURL(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/images/redis-1.tar.gz" {
			http.Error(w, "", http.StatusServiceUnavailable) // the metadata service is not up yet
			return
		}
		_, _ = io.WriteString(w, "an archive")
	}))
	defer s.Close()
	open := opener(s.URL)
	resp, err := open(t.Context(), s.URL+"/images/redis-1.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); string(text) != "an archive" || err != nil {
		t.Errorf("got %q, %v", text, err)
	}
	const want = "ask the metadata service for /latest/api/token: 503 Service Unavailable"
	if _, err := open(t.Context(), "s3://machines/images/redis-1.tar.gz"); err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestLoadImageNeedsToKnowWhich(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{units.KeyImage, units.KeyImages} {
		get := func(key string) string {
			if key == missing {
				return ""
			}
			return "there"
		}
		err := loadImage(t.Context(), get, slog.New(slog.DiscardHandler))
		if err == nil || !strings.HasPrefix(err.Error(), "DEVCTL_IMAGE or DEVCTL_IMAGES is missing") {
			t.Errorf("without %s: error = %v", missing, err)
		}
	}
}
