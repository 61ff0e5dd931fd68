// Package bundle makes the archives of service images, one of each, and puts them into the bucket from which machines on a
// cloud fetch them: S3 on AWS, Spaces on DigitalOcean.
//
// To make one needs Docker, to upload it the cloud's credentials. Once a bundle is in its bucket neither is needed again:
// its name says what it was built from.
package bundle

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"devctl/internal/api"
)

// metaSHA256 is the metadata of an archive that says what machines have to have when they have fetched it.
const metaSHA256 = "sha256"

const (
	callTimeout   = time.Minute
	uploadTimeout = 30 * time.Minute // some fifty megabytes over whatever line there is
)

// Location is where a bundle is.
type Location struct {
	Platform api.Platform // whose bucket it is
	Region   string
	Bucket   string
	Key      string
}

func (l Location) String() string { return l.Bucket + "/" + l.Key }

// Store makes and finds bundles.
type Store struct {
	Dir    string   // for archives until they are uploaded
	Images []string // references of the images that this devctl makes bundles of
	// Save writes the archive of an image, building what has to be built, and tells its progress.
	Save func(ctx context.Context, image string, w io.Writer, log func(string)) error
	// SpacesKeys returns the access key to Spaces.
	SpacesKeys func(ctx context.Context) (id, secret string, err error)
	// Endpoint is the URL of the buckets' service; empty for the platform's own.
	Endpoint string
}

// Upload puts the bundle of an image into its bucket. What is there under its name already is the same, and stays.
func (s *Store) Upload(ctx context.Context, at Location, image string, log func(string)) error {
	if found, err := s.Exists(ctx, at); err != nil || found {
		return err
	}
	if !slices.Contains(s.Images, image) {
		return fmt.Errorf("upload %s: this devctl makes no %s", at, image)
	}
	file, err := s.archive(ctx, image, log)
	if err != nil {
		return fmt.Errorf("make image bundle of %s: %w", image, err)
	}
	if err := s.put(ctx, at, file, log); err != nil {
		return fmt.Errorf("upload image bundle to %s: %w; the archive is kept in %s, `devctl up` goes on from there", at, err, file)
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("remove image bundle after its upload: %w", err)
	}
	return nil
}

// archive makes sure that the archive is in the folder. Only a whole one has its name.
func (s *Store) archive(ctx context.Context, image string, log func(string)) (file string, err error) {
	name := api.ImageArchive(image)
	file = filepath.Join(s.Dir, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", err
	}
	half, err := os.CreateTemp(s.Dir, name+".*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, half.Close(), os.Remove(half.Name()))
		}
	}()
	// Fastest: a third of the size for little time, and much better takes long.
	packed, err := gzip.NewWriterLevel(half, gzip.BestSpeed)
	if err != nil {
		return "", err
	}
	if err := errors.Join(s.Save(ctx, image, packed, log), packed.Close()); err != nil {
		return "", err
	}
	if err := half.Sync(); err != nil {
		return "", err
	}
	if err := os.Rename(half.Name(), file); err != nil {
		return "", err
	}
	return file, half.Close()
}

func (s *Store) put(ctx context.Context, at Location, file string, log func(string)) error {
	client, err := s.client(ctx, at)
	if err != nil {
		return err
	}
	archive, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = archive.Close() }()
	hash := sha256.New()
	size, err := io.Copy(hash, archive)
	if err != nil {
		return err
	}
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	log(fmt.Sprintf("image bundle: uploading %d MB to %s", size>>20, at))
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	object := &s3.PutObjectInput{
		Bucket: &at.Bucket, Key: &at.Key, Body: archive, ContentLength: aws.Int64(size), ContentType: aws.String("application/gzip"),
		Metadata: map[string]string{metaSHA256: hex.EncodeToString(hash.Sum(nil))},
	}
	if at.Platform == api.PlatformDigitalOcean {
		object.ACL = types.ObjectCannedACLPublicRead // droplets have no identity there: see components/digitalocean
	}
	_, err = client.PutObject(ctx, object)
	return err
}

// Exists tells whether the bundle is in its bucket.
func (s *Store) Exists(ctx context.Context, at Location) (bool, error) {
	client, err := s.client(ctx, at)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.Bucket, Key: &at.Key})
	if notFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for image bundle %s: %w", at, err)
	}
	return true, nil
}

func notFound(err error) bool {
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) && answer.HTTPStatusCode() == http.StatusNotFound
}

// client speaks to the service of the bucket, with the credentials that the AWS CLI would use, or the key to Spaces.
func (s *Store) client(ctx context.Context, at Location) (*s3.Client, error) {
	// Spaces knows no checksums but the one in the signature, and that is enough for S3 as well.
	options := []func(*config.LoadOptions) error{
		config.WithRegion(at.Region), config.WithRequestChecksumCalculation(aws.RequestChecksumCalculationWhenRequired),
		config.WithResponseChecksumValidation(aws.ResponseChecksumValidationWhenRequired),
	}
	endpoint := s.Endpoint
	switch at.Platform {
	case api.PlatformAWS:
	case api.PlatformDigitalOcean:
		if endpoint == "" {
			endpoint = "https://" + at.Region + ".digitaloceanspaces.com"
		}
		options = append(options, config.WithCredentialsProvider(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			id, secret, err := s.SpacesKeys(ctx)
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, err
		})))
	default:
		return nil, fmt.Errorf("open bucket %s: no cloud is called %q", at.Bucket, at.Platform)
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("find the credentials for bucket %s: %w", at.Bucket, err)
	}
	return s3.NewFromConfig(loaded, func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &endpoint, s.Endpoint != ""
		}
	}), nil
}
