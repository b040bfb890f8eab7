"""Spans of time that several modules share: whole seconds, unless a name says otherwise."""

from datetime import timedelta

HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY

# TikTok drops copies of an event_id for 48 hours; one hour is the margin for clocks and queues.
# https://ads.tiktok.com/help/article/event-deduplication
TIKTOK_DEDUPLICATES = timedelta(hours=48)
SAFE_RESEND_WINDOW = TIKTOK_DEDUPLICATES - timedelta(hours=1)
# Within these seconds TikTok merges the fields of copies; later copies change nothing.
MERGE_WINDOW = 300
