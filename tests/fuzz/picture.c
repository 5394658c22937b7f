/* Pictures and masks: what is decoded has the size that its memory has; what is encoded is decoded to the same pixels. */
#include <stdlib.h>
#include <string.h>

#include "apps/genseg/picture.h"
#include "fuzz.h"

const char *const fuzz_name = "picture";
const char *const fuzz_words[] = {"IHDR", "IDAT", "IEND", "PLTE", "tRNS", "\x89PNG\r\n\x1a\n", "\xff\xd8", "\xff\xc0",
                                  "\xff\xc2", "\xff\xda", "\xff\xd9", "\xff\xdd", "\xff\xe1", "Exif", NULL};

/* Two pictures of our own encoder, and the least JPEG headers: what a decoder sees first. */
int32_t fuzz_seed(int32_t number, unsigned char *bytes)
{
    static const unsigned char jpeg[] = {0xFF, 0xD8, 0xFF, 0xE0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0,
                                         0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 8, 1, 1, 0x11, 0,
                                         0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0, 0xFF, 0xD9};
    uint8_t pixels[9 * 7 * 3], *encoded = NULL;
    size_t count = 0;
    ht_error error = {0};
    if (number == 2) return memcpy(bytes, jpeg, sizeof jpeg), (int32_t)sizeof jpeg;
    if (number > 2) return -1;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = i / 20 % 2 ? 255 : 0;
    genseg_picture picture = {.width = 9, .height = 7, .channels = number == 0 ? 1 : 3, .pixels = pixels};
    if (genseg_picture_encode(&picture, &encoded, &count, &error) || count > FUZZ_BYTES) return -1;
    memcpy(bytes, encoded, count);
    free(encoded);
    return (int32_t)count;
}

static void check_again(const genseg_picture *picture, fuzz_outcome *outcome)
{
    genseg_picture again = {0};
    genseg_bytes file = {0};
    ht_error error = {0};
    if (genseg_picture_encode(picture, &file.data, &file.count, &error) || genseg_picture_decode(&file, "again", &again, &error))
        fuzz_break(outcome, "what was decoded is encoded and decoded again");
    else if (again.width != picture->width || again.height != picture->height || again.channels != picture->channels ||
             memcmp(again.pixels, picture->pixels,
                    (size_t)picture->width * (size_t)picture->height * (size_t)picture->channels) != 0)
        fuzz_break(outcome, "what was encoded has the same pixels");
    genseg_picture_free(&again);
    free(file.data);
}

void fuzz_one(const unsigned char *bytes, size_t count, fuzz_outcome *outcome)
{
    genseg_bytes file = {.data = (uint8_t *)(uintptr_t)bytes, .count = count};
    genseg_picture picture = {0};
    genseg_lines lines = {0};
    ht_error error = {0}, refused = {0};
    int32_t width = 0, height = 0;
    uint8_t *mask = NULL;
    if (genseg_picture_decode(&file, "picture.png", &picture, &error)) fuzz_refused(&error, outcome);
    else {
        const int64_t pixels = (int64_t)picture.width * picture.height;
        outcome->kind = fuzz_mix(3, (uint64_t)picture.channels);
        if (picture.channels != 1 && picture.channels != 3) fuzz_break(outcome, "a picture has 1 or 3 channels");
        if (pixels < 1 << 16) check_again(&picture, outcome);
    }
    if (genseg_mask_decode(&file, "mask.png", &width, &height, &mask, &lines, &refused) == HT_OK) {
        for (int64_t i = 0; i < (int64_t)width * height; i++)
            if (mask[i] > 1) fuzz_break(outcome, "a mask holds 0 and 1");
    } else if (error.status == HT_OK) fuzz_refused(&refused, outcome);
    genseg_picture_free(&picture);
    free(mask);
    free(lines.text);
}
