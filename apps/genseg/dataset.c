/*
 * Data sets: the splits of a folder, or of the built-in phantom, as arrays ready for training. All checks happen while
 * reading, at the original sizes: what has been opened can be trained on. Masks and pictures have their own files.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "picture.h"

#define SIZE_MAX_OF_INPUT 8192
#define LEAKS_SHOWN       10
#define EMPTY_SHOWN       10

static const struct {
    int32_t bit;
    const char *name;
} split_names[3] = {{GENSEG_TRAIN, "train"}, {GENSEG_VAL, "val"}, {GENSEG_TEST, "test"}};

static genseg_split *split_of(genseg_dataset *d, int s)
{
    return s == 0 ? &d->train : s == 1 ? &d->val : &d->test;
}

static ht_status no_memory(ht_error *error)
{
    return ht_fail(error, HT_ENOMEM,
                   "the data set: no memory for it; expected more of it; free some memory or lower data.size");
}

void genseg_dataset_free(genseg_dataset *dataset)
{
    if (!dataset) return;
    for (int s = 0; s < 3; s++) {
        genseg_split *split = split_of(dataset, s);
        for (int32_t i = 0; i < split->count; i++) {
            genseg_case *c = &split->cases[i];
            free(c->name);
            free(c->image_path);
            free(c->mask_path);
            free(c->mask);
            free(c->image);
            free(c->mask_small);
        }
        free(split->cases);
    }
    free(dataset->name);
    free(dataset->warnings);
    *dataset = (genseg_dataset){0};
}

/* ---- one case ---- */

/* With channels 0 the case's image keeps the picture's own channels until all are known (settle_channels). */
static ht_status take_picture(genseg_case *c, const genseg_picture *picture, int32_t size, int32_t channels,
                              int32_t *own, ht_error *error)
{
    *own = channels ? channels : picture->channels;
    c->width = picture->width;
    c->height = picture->height;
    c->image = malloc(sizeof(float) * (size_t)*own * (size_t)size * (size_t)size);
    if (!c->image) return no_memory(error);
    return genseg_resize_image(picture, *own, size, c->image, error);
}

static ht_status take_mask(genseg_case *c, int32_t size, ht_error *error)
{
    c->mask_small = malloc(sizeof(float) * (size_t)size * (size_t)size);
    if (!c->mask_small) return no_memory(error);
    genseg_resize_mask(c->mask, c->width, c->height, size, c->mask_small);
    return HT_OK;
}

static ht_status read_image(genseg_case *c, int32_t size, int32_t channels, int32_t *own, ht_error *error)
{
    genseg_bytes file;
    genseg_picture picture = {0};
    ht_status status = genseg_bytes_read(c->image_path, &file, error);
    if (status != HT_OK) return status;
    c->image_hash = c->hash = genseg_hash(GENSEG_HASH_START, file.data, file.count);
    status = genseg_picture_decode(&file, c->image_path, &picture, error);
    if (status == HT_OK) status = take_picture(c, &picture, size, channels, own, error);
    genseg_picture_free(&picture);
    free(file.data);
    return status;
}

static ht_status read_mask(genseg_case *c, int32_t size, genseg_lines *warnings, ht_error *error)
{
    genseg_bytes file;
    int32_t width = 0, height = 0;
    ht_status status = genseg_bytes_read(c->mask_path, &file, error);
    if (status != HT_OK) return status;
    c->hash = genseg_hash(c->hash, file.data, file.count);
    status = genseg_mask_decode(&file, c->mask_path, &width, &height, &c->mask, warnings, error);
    free(file.data);
    if (status != HT_OK) return status;
    char place[GENSEG_PLACE];
    if (width != c->width || height != c->height)
        return ht_fail(error, HT_EINVALID,
                       "%s: a mask of %d x %d pixels for an image of %d x %d; expected equal sizes; "
                       "export the mask again",
                       genseg_place(c->mask_path, place), width, height, c->width, c->height);
    return take_mask(c, size, error);
}

/* ---- splits ---- */

typedef struct loader {
    genseg_dataset *out;
    int32_t size, channels, threads; /* as asked for */
    uint64_t phantom_seed;
    uint8_t *own[3];        /* channels that each image has so far */
    genseg_lines warnings, *said; /* said: of each case of the present split, until all are there */
    ht_error *error;
} loader;

typedef ht_status (*case_maker)(loader *l, int s, int32_t index, ht_error *error);

static ht_status make_cases(loader *l, int s, int32_t count)
{
    genseg_split *split = split_of(l->out, s);
    split->cases = calloc((size_t)count, sizeof *split->cases);
    l->own[s] = calloc((size_t)count, 1);
    if (!split->cases || !l->own[s]) return no_memory(l->error);
    split->count = count;
    return HT_OK;
}

/*
 * Makes all cases of a split, side by side. Of several faults that of the first case is told, whichever thread is first:
 * what is passed over stands behind one that is refused already. Warnings come in the order of the cases.
 */
static ht_status fill_cases(loader *l, int s, case_maker maker)
{
    const int32_t count = split_of(l->out, s)->count;
    int32_t refused = count;
    ht_status status = HT_OK;
    l->said = calloc((size_t)count + 1, sizeof *l->said);
    if (!l->said) return no_memory(l->error);
#pragma omp parallel for num_threads(l->threads) schedule(dynamic, 1)
    for (int32_t i = 0; i < count; i++) {
        ht_error error = {0};
        int32_t first;
#pragma omp atomic read
        first = refused;
        if (i > first || maker(l, s, i, &error) == HT_OK) continue;
#pragma omp critical
        if (i < refused) {
            *l->error = error;
#pragma omp atomic write
            refused = i;
        }
    }
    if (refused < count) status = l->error->status;
    for (int32_t i = 0; i < count; i++) {
        if (l->said[i].text && status == HT_OK) status = genseg_lines_add(&l->warnings, l->said[i].text, l->error);
        free(l->said[i].text);
    }
    free(l->said);
    return status;
}

static ht_status read_case(loader *l, int s, int32_t index, ht_error *error)
{
    genseg_case *c = &split_of(l->out, s)->cases[index];
    int32_t own = 0;
    ht_status status = read_image(c, l->size, l->channels, &own, error);
    l->own[s][index] = (uint8_t)own;
    return status == HT_OK && c->mask_path ? read_mask(c, l->size, &l->said[index], error) : status;
}

/* The paths and the stem pass from the listings to the cases. */
static ht_status load_listing(loader *l, int s, genseg_listing *images, genseg_listing *masks)
{
    ht_status status = make_cases(l, s, images->count);
    for (int32_t i = 0; status == HT_OK && i < images->count; i++) {
        genseg_case *c = &split_of(l->out, s)->cases[i];
        c->name = images->entries[i].stem;
        c->image_path = images->entries[i].path;
        images->entries[i] = (genseg_entry){0};
        if (!masks) continue;
        c->mask_path = masks->entries[i].path;
        masks->entries[i].path = NULL;
    }
    return status == HT_OK ? fill_cases(l, s, read_case) : status;
}

static ht_status load_split(loader *l, const char *path, int s)
{
    genseg_listing images = {0}, masks = {0};
    char place[GENSEG_PLACE];
    char *folder = genseg_path_join(path, split_names[s].name);
    char *image_folder = folder ? genseg_path_join(folder, "images") : NULL;
    char *mask_folder = folder ? genseg_path_join(folder, "masks") : NULL;
    ht_status status =
        mask_folder && image_folder ? genseg_folder_list(image_folder, &images, l->error) : no_memory(l->error);
    if (status == HT_OK) status = genseg_folder_list(mask_folder, &masks, l->error);
    if (status == HT_OK) status = genseg_folder_pair(genseg_place(folder, place), &images, &masks, l->error);
    if (status == HT_OK) status = load_listing(l, s, &images, &masks);
    genseg_listing_free(&images);
    genseg_listing_free(&masks);
    free(folder);
    free(image_folder);
    free(mask_folder);
    return status;
}

static ht_status draw_case(loader *l, int s, int32_t index, ht_error *error)
{
    const uint64_t seed = l->phantom_seed;
    genseg_case *c = &split_of(l->out, s)->cases[index];
    genseg_picture picture = {0};
    char name[48];
    int32_t own = 3;
    snprintf(name, sizeof name, "phantom-%s-%03d", split_names[s].name, index);
    c->name = strdup(name);
    c->seed = seed;
    if (!c->name) return no_memory(error);
    ht_status status =
        genseg_phantom_draw(seed, split_names[s].bit, index, GENSEG_PHANTOM_SIZE, &picture, &c->mask, error);
    if (status == HT_OK) {
        size_t pixels = (size_t)picture.width * (size_t)picture.height;
        c->image_hash = genseg_hash(GENSEG_HASH_START, picture.pixels, pixels * 3);
        c->hash = genseg_hash(c->image_hash, c->mask, pixels);
        status = take_picture(c, &picture, l->size, l->channels, &own, error);
    }
    if (status == HT_OK) status = take_mask(c, l->size, error);
    l->own[s][index] = (uint8_t)own;
    genseg_picture_free(&picture);
    return status;
}

static ht_status draw_split(loader *l, int s)
{
    ht_status status = make_cases(l, s, genseg_phantom_count(split_names[s].bit));
    return status == HT_OK ? fill_cases(l, s, draw_case) : status;
}

/* ---- the whole ---- */

/* Three channels if any image has them; grey images among them are repeated into each. */
static ht_status settle_channels(loader *l)
{
    int32_t channels = l->channels ? l->channels : 1;
    for (int s = 0; s < 3; s++)
        for (int32_t i = 0; i < split_of(l->out, s)->count; i++)
            if (l->own[s][i] > channels) channels = l->own[s][i];
    l->out->channels = channels;
    size_t plane = (size_t)l->size * (size_t)l->size;
    for (int s = 0; s < 3; s++) {
        for (int32_t i = 0; i < split_of(l->out, s)->count; i++) {
            genseg_case *c = &split_of(l->out, s)->cases[i];
            if (l->own[s][i] == channels) continue;
            float *image = realloc(c->image, sizeof(float) * plane * (size_t)channels);
            if (!image) return no_memory(l->error);
            c->image = image;
            for (int32_t k = 1; k < channels; k++) memcpy(image + (size_t)k * plane, image, sizeof(float) * plane);
        }
    }
    return HT_OK;
}

/* One line with the names of a split's masks that are all background (value 0) or all foreground (1), if any. */
static ht_status warn_uniform(loader *l, int s, uint8_t value)
{
    const genseg_split *split = split_of(l->out, s);
    char names[EMPTY_SHOWN * 26 + 8] = "", line[HT_MESSAGE_BYTES];
    int32_t found = 0;
    size_t used = 0;
    for (int32_t i = 0; i < split->count; i++) {
        const genseg_case *c = &split->cases[i];
        char shown[GENSEG_PLACE];
        if (!c->mask || c->mask[0] != value ||
            memcmp(c->mask, c->mask + 1, (size_t)c->width * (size_t)c->height - 1) != 0)
            continue;
        if (found++ < EMPTY_SHOWN)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%.24s", used ? ", " : "",
                                     genseg_place(c->name, shown));
    }
    if (found == 0) return HT_OK;
    snprintf(line, sizeof line, "%s: %d of %d masks are all %s (%s%s)", split_names[s].name, found, split->count,
             value ? "foreground" : "background", names, found > EMPTY_SHOWN ? ", ..." : "");
    return genseg_lines_add(&l->warnings, line, l->error);
}

typedef struct hashed {
    uint64_t hash;
    int32_t split;
    const char *name;
} hashed;

static int by_hash(const void *a, const void *b)
{
    const hashed *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->split != y->split ? (x->split < y->split ? -1 : 1) : strcmp(x->name, y->name);
}

static ht_status warn_leaks(loader *l, const hashed *all, int32_t count)
{
    char line[HT_MESSAGE_BYTES], first[GENSEG_PLACE], second[GENSEG_PLACE];
    int32_t leaks = 0;
    ht_status status = HT_OK;
    for (int32_t i = 1; status == HT_OK && i < count; i++) {
        const hashed *a = &all[i - 1], *b = &all[i];
        if (a->hash != b->hash || a->split == b->split || leaks++ >= LEAKS_SHOWN) continue;
        snprintf(line, sizeof line, "leak: %s/%s and %s/%s hold the same image", split_names[a->split].name,
                 genseg_place(a->name, first), split_names[b->split].name, genseg_place(b->name, second));
        status = genseg_lines_add(&l->warnings, line, l->error);
    }
    if (status != HT_OK || leaks <= LEAKS_SHOWN) return status;
    snprintf(line, sizeof line, "leak: %d more images stand in two splits", leaks - LEAKS_SHOWN);
    return genseg_lines_add(&l->warnings, line, l->error);
}

/* The data set's hash, and the warnings that need all cases. */
static ht_status survey(loader *l)
{
    int32_t count = 0;
    uint64_t hash = GENSEG_HASH_START;
    hashed *all = malloc(sizeof *all *
                         ((size_t)l->out->train.count + (size_t)l->out->val.count + (size_t)l->out->test.count + 1));
    if (!all) return no_memory(l->error);
    ht_status status = HT_OK;
    for (int s = 0; status == HT_OK && s < 3; s++) {
        const genseg_split *split = split_of(l->out, s);
        for (int32_t i = 0; i < split->count; i++) {
            const genseg_case *c = &split->cases[i];
            hash = genseg_hash(hash, split_names[s].name, strlen(split_names[s].name) + 1);
            hash = genseg_hash(hash, c->name, strlen(c->name) + 1);
            uint8_t bytes[8]; /* in a fixed order, whatever the machine's */
            for (int k = 0; k < 8; k++) bytes[k] = (uint8_t)(c->hash >> (8 * k));
            hash = genseg_hash(hash, bytes, sizeof bytes);
            all[count++] = (hashed){c->image_hash, s, c->name};
        }
        status = warn_uniform(l, s, 0);
        if (status == HT_OK) status = warn_uniform(l, s, 1);
    }
    l->out->hash = hash;
    if (status == HT_OK && count) {
        qsort(all, (size_t)count, sizeof *all, by_hash);
        status = warn_leaks(l, all, count);
    }
    free(all);
    return status;
}

static bool is_there(const char *folder, const char *name, bool as_folder)
{
    char path[4096];
    struct stat facts;
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && (size_t)length < sizeof path && stat(path, &facts) == 0 && (!as_folder || S_ISDIR(facts.st_mode));
}

/* What keeps a path from being a data set as a whole, NULL if nothing does. What its splits lack is said later. */
static const char *unfit(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0) return "no such folder";
    if (!S_ISDIR(facts.st_mode)) return "not a folder";
    for (int s = 0; s < 3; s++)
        if (is_there(path, split_names[s].name, true)) return NULL;
    if (is_there(path, "config.toml", false)) return "a run, not data";
    return "holds no folder train, val or test";
}

static ht_status begin(loader *l, const char *path, const char *name_of)
{
    *l->out = (genseg_dataset){.size = l->size};
    if (l->size < 1 || l->size > SIZE_MAX_OF_INPUT || (l->channels != 0 && l->channels != 1 && l->channels != 3))
        return ht_fail(l->error, HT_EINVALID,
                       "data.size %d with %d channels; expected a size of 1 to %d and 0, 1 or 3 "
                       "channels; change the configuration",
                       l->size, l->channels, SIZE_MAX_OF_INPUT);
    size_t end = strlen(name_of);
    while (end > 1 && name_of[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && name_of[start - 1] != '/') start--;
    l->out->name = strndup(name_of + start, end - start);
    if (!l->out->name) return no_memory(l->error);
    char place[GENSEG_PLACE];
    const char *reason = path ? unfit(path) : NULL;
    if (!reason) return HT_OK;
    return ht_fail(l->error, HT_EINVALID,
                   "%s: %s; expected train|val|test/{images,masks}; give the folder that holds train, "
                   "or the word phantom",
                   genseg_place(path, place), reason);
}

static ht_status end(loader *l, ht_status status)
{
    if (status == HT_OK) status = settle_channels(l);
    if (status == HT_OK) status = survey(l);
    for (int s = 0; s < 3; s++) free(l->own[s]);
    l->out->warnings = l->warnings.text;
    if (status != HT_OK) genseg_dataset_free(l->out);
    return status;
}

ht_status genseg_dataset_open(const char *path, int32_t splits, int32_t size, int32_t channels, uint64_t phantom_seed,
                              int32_t threads, genseg_dataset *out, ht_error *error)
{
    ht_error local = {0};
    loader l = {.out = out, .size = size, .channels = channels, .threads = threads, .phantom_seed = phantom_seed,
                .error = &local};
    bool phantom = strcmp(path, "phantom") == 0;
    ht_status status = begin(&l, phantom ? NULL : path, path);
    for (int s = 0; status == HT_OK && s < 3; s++)
        if (splits & split_names[s].bit) status = phantom ? draw_split(&l, s) : load_split(&l, path, s);
    status = end(&l, status);
    return status == HT_OK ? HT_OK : ht_fail(error, status, "%s", local.message);
}

ht_status genseg_dataset_images(const char *folder, int32_t size, int32_t channels, int32_t threads, genseg_dataset *out,
                                ht_error *error)
{
    ht_error local = {0};
    genseg_listing images = {0};
    loader l = {.out = out, .size = size, .channels = channels, .threads = threads, .error = &local};
    ht_status status = begin(&l, NULL, folder);
    if (status == HT_OK) status = genseg_folder_list(folder, &images, &local);
    if (status == HT_OK) status = load_listing(&l, 2, &images, NULL);
    genseg_listing_free(&images);
    status = end(&l, status);
    return status == HT_OK ? HT_OK : ht_fail(error, status, "%s", local.message);
}

/* Grey pictures become RGB in place of themselves. */
static ht_status to_colour(genseg_picture *picture, ht_error *error)
{
    size_t pixels = (size_t)picture->width * (size_t)picture->height;
    uint8_t *larger = realloc(picture->pixels, pixels * 3);
    if (!larger) {
        genseg_picture_free(picture);
        return no_memory(error);
    }
    for (size_t i = pixels; i-- > 0;) larger[3 * i] = larger[3 * i + 1] = larger[3 * i + 2] = larger[i];
    picture->pixels = larger;
    picture->channels = 3;
    return HT_OK;
}

ht_status genseg_case_picture(const genseg_case *c, genseg_picture *out, ht_error *error)
{
    if (c->image_path) {
        ht_status status = genseg_picture_read(c->image_path, out, error);
        return status == HT_OK && out->channels == 1 ? to_colour(out, error) : status;
    }
    for (int s = 0; s < 3; s++) {
        char prefix[24];
        uint8_t *mask = NULL;
        snprintf(prefix, sizeof prefix, "phantom-%s-", split_names[s].name);
        if (strncmp(c->name, prefix, strlen(prefix)) != 0) continue;
        int32_t index = (int32_t)strtol(c->name + strlen(prefix), NULL, 10);
        ht_status status = genseg_phantom_draw(c->seed, split_names[s].bit, index, c->width, out, &mask, error);
        free(mask);
        return status;
    }
    *out = (genseg_picture){0};
    return ht_fail(error, HT_EINTERNAL, "%.60s: neither a file nor a phantom", c->name);
}
